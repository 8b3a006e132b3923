"""The contract version. A number that grows by one with each change of the wire, and what each one brought.

Each side states the range it speaks (`Birth.contract_low` to `Birth.contract_high`); a controller talks to a device in the
highest version that both know. Unknown fields are ignored on decoding and kept where a message is stored, because
stored is the payload as it came.
"""

from typing import Final

CONTRACT_LOW: Final = 1
CONTRACT_HIGH: Final = 1

HISTORY: Final = {
    1: "2026-11-24: birth, reported, health, result, note, reply, log; desired, command, ack. "
    "2026-11-25: feedback, which a device of before ignores.",
}
