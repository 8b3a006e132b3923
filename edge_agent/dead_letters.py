"""What operators do with dead letters: list, show, take in again, drop. One code behind the local and the remote commands."""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from edge_agent.journal.batch import Batch, DeadLetterRow, unpack_properties
from edge_agent.link.port import Delivery
from edge_agent.taking import REPLAYED

SHOWN_BYTES: Final = 256 * 1024
"""Of a payload, so that an answer fits into one MQTT message."""
AT_ONCE: Final = 500
"""Letters that one command takes in again, so that it does not stop live events for long."""


NEWEST: Final = 2**63 - 1
MOST: Final = 100_000
"""Letters that one look reads; the store's own bounds are far below."""


class Letters(Protocol):
    """A read-only connection to the store."""

    def dead_letters(self, after: int, *, through: int, rows: int) -> list[tuple[int, DeadLetterRow]]: ...

    def dead_letter(self, number: int) -> DeadLetterRow | None: ...

    def newest_dead_letters(self, rows: int, topic: str | None, reason: str | None) -> list[tuple[int, int, DeadLetterRow]]: ...

    def dead_letter_totals(self) -> tuple[int, int, int]: ...


class Intake(Protocol):
    """What is needed of the engine."""

    def wants(self, topic: str) -> bool:
        """Whether a pipeline reads this topic."""

    def take_again(self, deliveries: Sequence[Delivery], numbers: Sequence[int]) -> None:
        """Take messages in once more; their letters go in the same commit."""


class DeadLetters:
    """The dead letters of this device. Methods raise KeyError for a number that there is not, sqlite3.Error."""

    def __init__(self, letters: Letters, submit: Callable[[Batch], object], intake: Intake) -> None:
        self._letters = letters
        self._submit = submit
        self._intake = intake
        self._gone: set[int] = set()
        """Dealt with, but perhaps still in the file: nothing is taken in again twice."""

    def newest(self, limit: int = 50, topic: str | None = None, reason: str | None = None) -> dict[str, Any]:
        """The newest letters, newest first, without their payloads; totals are of all letters."""
        rows, size, newest = self._letters.dead_letter_totals()
        found = self._letters.newest_dead_letters(limit, topic, reason)
        letters = [_view(number, letter) | {"size": length} for number, length, letter in found]
        return {"total": rows, "bytes": size, "newest": newest, "letters": letters}

    def show(self, number: int) -> dict[str, Any]:
        """One letter with its payload: as text where it is UTF-8, else in base64."""
        letter = self._existing(number)
        shown = letter.payload[:SHOWN_BYTES]
        view = _view(number, letter) | {"size": len(letter.payload), "truncated": len(shown) < len(letter.payload)}
        view |= {"qos": letter.qos, "retain": letter.retain}
        properties = unpack_properties(letter.properties)
        view |= {name: properties[name] for name in ("content_type", "user") if name in properties}
        try:
            return view | {"payload": shown.decode()}
        except UnicodeDecodeError:
            return view | {"payload_base64": base64.b64encode(shown).decode()}

    def replay(self, numbers: Sequence[int] | None, through: int | None = None) -> dict[str, Any]:
        """Take letters in again as if their messages had just come: the named ones, or the oldest up to number `through`.

        The pipelines that could not read it get it, and no others; where their name is gone, all that read the topic.
        What still cannot be read becomes a new letter with a new number. At most 500 at once; `left` says how many are
        still to be taken. What no pipeline reads any more, and windows that could not be scored, are skipped, and stay.
        """
        found = self._find(numbers, through)
        messages = [(number, letter) for number, letter in found if letter.is_message and self._intake.wants(letter.topic)]
        now = messages[:AT_ONCE]
        self._gone.update(number for number, _ in now)
        self._intake.take_again([_delivery(letter) for _, letter in now], [number for number, _ in now])
        return {"replayed": len(now), "skipped": len(found) - len(messages), "left": len(messages) - len(now)}

    def drop(self, numbers: Sequence[int] | None, through: int | None = None) -> dict[str, Any]:
        """Delete letters: the named ones, or all up to number `through`."""
        gone = [number for number, _ in self._find(numbers, through)]
        self._gone.update(gone)
        self._submit(Batch(dead_letters_gone=gone))
        return {"dropped": len(gone)}

    def _find(self, numbers: Sequence[int] | None, through: int | None) -> list[tuple[int, DeadLetterRow]]:
        if numbers is None:
            found = self._letters.dead_letters(0, through=NEWEST if through is None else through, rows=MOST)
            if through is None:
                self._gone.intersection_update(number for number, _ in found)
            return [(number, letter) for number, letter in found if number not in self._gone]
        return [(number, self._existing(number)) for number in dict.fromkeys(numbers)]

    def _existing(self, number: int) -> DeadLetterRow:
        letter = None if number in self._gone else self._letters.dead_letter(number)
        if letter is None:
            raise KeyError(number)
        return letter


def _view(number: int, letter: DeadLetterRow) -> dict[str, Any]:
    return {
        "number": number,
        "received": datetime.fromtimestamp(letter.received, UTC).isoformat(timespec="milliseconds"),
        "kind": "message" if letter.is_message else "window",
        "topic": letter.topic,
        "reason": letter.reason,
        "detail": letter.detail,
        "pipeline": letter.pipeline,
    }


def _delivery(letter: DeadLetterRow) -> Delivery:
    properties = unpack_properties(letter.properties) | {REPLAYED: letter.pipeline}
    # generation -1 is of no connection: there is nothing to acknowledge. QoS 1, because what is on disk is not dropped any more
    return Delivery(letter.topic, letter.payload, max(letter.qos, 1), letter.retain, False, 0, -1, properties)
