"""A board without a battery clock boots in 1970: it goes on working, says so, and its clock brings nothing back to life."""

import sqlite3
from datetime import UTC, datetime, timedelta

from tuf.api.metadata import Timestamp

from fleet_contract.reasons import Reason
from tests.attacks.attacked import PATIENCE, STATE, Attacked
from tests.attacks.repository import signed
from tests.attacks.rows import INCUMBENT, SOUND
from tests.faults.programs import until

BOOT = 60.0
YEAR = 365 * 24 * 3600.0


def notes(attacked: Attacked) -> list[str]:
    """What waits in the outbox for the controller."""
    with sqlite3.connect(f"file:{attacked.folder / STATE}/agent.db?mode=ro", uri=True) as database:
        return [str(row) for row in database.execute("SELECT * FROM outbox")]


def test_a_device_that_boots_in_1970_answers_updates_and_says_so_and_expired_metadata_stays_refused(attacked: Attacked) -> None:
    signing = attacked.signing
    signing.publish("1.0.0")
    attacked.program.start()
    until(attacked.status, attacked.program.log_tail, PATIENCE)
    attacked.run(INCUMBENT)
    assert attacked.status()["clock_behind_s"] is None
    attacked.program.stop()
    signing.publish("2.0.0")

    attacked.boot_at(BOOT)
    until(lambda: attacked.status().get("models"), attacked.program.log_tail, PATIENCE)
    assert attacked.status()["clock_behind_s"] > 50 * YEAR
    assert attacked.answering() == INCUMBENT
    attacked.run(SOUND)
    assert attacked.update()["state"] == "committed"
    assert attacked.answering() == SOUND
    until(lambda: any(Reason.CLOCK_BEHIND in note for note in notes(attacked)), lambda: str(notes(attacked)), PATIENCE)

    # Valid in 1970 and long after, but not at the last time that the device has seen.
    timestamp = signing.read("timestamp.json", Timestamp)
    timestamp.signed.version += 1
    timestamp.signed.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    attacked.server.instead["metadata/timestamp.json"] = signed(timestamp, [signing.keys.timestamp])
    signing.publish("3.0.0")
    attacked.run(3)
    assert (attacked.update()["state"], attacked.update()["reason"]) == ("rejected", Reason.METADATA_EXPIRED)
    assert attacked.answering() == SOUND
