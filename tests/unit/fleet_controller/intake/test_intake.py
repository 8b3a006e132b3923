"""Batches on a real SQLite file; the broker is a list."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fleet_contract.messages import Ack, decode
from fleet_controller.intake.intake import Changes, Intake
from fleet_controller.intake.sorting import Incoming
from fleet_controller.settings import IntakeSettings
from fleet_controller.store import tables
from fleet_controller.store.database import open_database, sqlite_url
from fleet_controller.store.slots import Channel, read_slots


class Desk:
    """Intake with everything it touches at hand."""

    def __init__(self, path: Path) -> None:
        self.database = open_database(sqlite_url(path / "controller.db"))
        self.sent: list[tuple[str, Ack]] = []
        self.changes: list[Changes] = []
        self.now = 1000.0
        self.intake = Intake(self.database, self._publish, IntakeSettings(), self.changes.append, lambda: self.now)
        with self.database.write() as connection:
            for device in ("a", "b"):
                connection.execute(sa.insert(tables.devices).values(device=device, labels={}, created=1.0))

    def _publish(self, topic: str, payload: bytes, **_properties: Any) -> bool:
        self.sent.append((topic, decode(payload, Ack)))
        return True

    def take(self, *messages: Incoming) -> None:
        self.intake.process(messages)

    def rows(self, table: sa.Table) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(table)))


@pytest.fixture
def desk(tmp_path: Path):
    made = Desk(tmp_path)
    yield made
    made.database.close()


def message(device: str, channel: str, **fields: Any) -> Incoming:
    return Incoming(f"sh/v1/{device}/up/{channel}", json.dumps(fields).encode())


def result(device: str, seq: int, result_id: str, stream: str = "s", **more: Any) -> Incoming:
    fields = {"stream": stream, "seq": seq, "result_id": result_id, "source": "x", "time": None, **more}
    return message(device, "result/frost", **fields)


def note(device: str, seq: int, **more: Any) -> Incoming:
    return message(device, "note", stream="s", seq=seq, kind="update", detail="d", time="t", **more)


def birth(counter: int, state: str, stream: str = "s") -> Incoming:
    return message("a", "birth", stream=stream, counter=counter, state=state)


def test_a_higher_revision_takes_the_place_of_a_result_and_is_acknowledged(desk: Desk) -> None:
    desk.take(result("a", 1, "r"), result("a", 2, "other"))
    desk.take(result("a", 3, "r", revision=1, time="t1"))
    desk.take(result("a", 3, "r", revision=1, time="t1"), result("a", 1, "r"), result("b", 1, "r", revision=2))
    desk.take(result("a", 5, "new", revision=2), result("a", 4, "new", revision=1, time="old"))
    found = {(row.device, row.result_id): (row.revision, row.time) for row in desk.rows(tables.results)}
    assert found == {("a", "r"): (1, "t1"), ("a", "other"): (0, None), ("b", "r"): (2, None), ("a", "new"): (2, None)}
    assert json.loads(next(row.payload for row in desk.rows(tables.results) if row.result_id == "r"))["revision"] == 1
    acked = [ack.ranges for topic, ack in desk.sent if topic.startswith("sh/v1/a/")]
    assert acked == [((1, 2),), ((3, 3),), ((1, 1), (3, 3)), ((4, 5),)]
    assert (desk.intake.counters["revised_results"], desk.intake.counters["repeated_results"]) == (1, 3)


def test_a_batch_is_acknowledged_in_ranges_for_each_device_and_stream(desk: Desk) -> None:
    desk.take(*(result("a", seq, f"r{seq}") for seq in (1, 2, 3, 7)), note("a", 4), result("b", 1, "r1"))
    assert desk.sent == [
        ("sh/v1/a/down/ack", Ack(stream="s", ranges=((1, 4), (7, 7)))),
        ("sh/v1/b/down/ack", Ack(stream="s", ranges=((1, 1),))),
    ]
    assert len(desk.rows(tables.results)) == 5


def test_a_repeat_is_stored_once_and_acknowledged_again(desk: Desk) -> None:
    for _ in range(2):
        desk.take(result("a", 1, "r1"), note("a", 2))
    assert len(desk.rows(tables.results)) == len(desk.rows(tables.notes)) == 1
    assert desk.sent == [("sh/v1/a/down/ack", Ack(stream="s", ranges=((1, 2),)))] * 2
    assert desk.intake.counters["repeated_results"] == 1


def test_a_result_id_under_another_place_is_acknowledged_and_not_stored_again(desk: Desk) -> None:
    desk.take(result("a", 1, "r1"))
    desk.take(result("a", 1, "r1", stream="t"))
    assert len(desk.rows(tables.results)) == 1
    assert desk.sent[1] == ("sh/v1/a/down/ack", Ack(stream="t", ranges=((1, 1),)))


def test_plain_results_are_stored_once_and_not_acknowledged(desk: Desk) -> None:
    plain = message("a", "result/frost", result_id="r1", source="x")
    desk.take(plain, plain, message("a", "result/frost", result_id="r2", source="x", stream="", seq=0))
    assert [row.result_id for row in desk.rows(tables.results)] == ["r1", "r2"]
    assert desk.sent == []


def test_payloads_are_kept_as_they_came(desk: Desk) -> None:
    sent = result("a", 1, "r1", field_of_tomorrow={"x": [1.0, None]})
    desk.take(sent)
    assert desk.rows(tables.results)[0].payload == sent.payload


def test_unknown_and_revoked_devices_are_counted_and_neither_stored_nor_acknowledged(desk: Desk) -> None:
    with desk.database.write() as connection:
        connection.execute(sa.update(tables.devices).where(tables.devices.c.device == "b").values(revoked=5.0))
    desk.take(result("stranger", 1, "r1"), result("b", 1, "r1"))
    assert desk.rows(tables.results) == []
    assert desk.sent == []
    assert desk.intake.counters["unknown_devices"] == 2


def test_malformed_messages_cost_the_others_nothing_and_are_logged_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    broken = Incoming("sh/v1/a/up/health", b"\xff\x00not json")
    desk.take(broken, result("a", 1, "r1"), broken, Incoming("sh/v1/a/down/ack", b"{}"), Incoming("other", b""))
    assert len(desk.rows(tables.results)) == 1
    assert desk.intake.counters["malformed"] == 4
    assert sum("malformed" in record.message and record.device == "a" for record in caplog.records) == 1


def test_a_durable_message_that_is_malformed_is_kept_and_acknowledged_so_that_it_does_not_come_for_ever(desk: Desk) -> None:
    desk.take(message("a", "note", stream="s", seq=5, kind=7))
    assert [row.seq for row in desk.rows(tables.refused)] == [5]
    assert desk.sent == [("sh/v1/a/down/ack", Ack(stream="s", ranges=((5, 5),)))]


def test_the_newest_value_of_a_slot_wins_whatever_the_order_of_arrival(desk: Desk) -> None:
    def state() -> str:
        with desk.database.read() as connection:
            return json.loads(read_slots(connection, ["a"])["a", Channel.BIRTH].payload)["state"]

    desk.take(birth(2, "online"))
    desk.take(birth(1, "offline"))
    assert state() == "online"
    desk.take(birth(3, "offline"), birth(4, "online"), birth(3, "offline"))
    assert state() == "online"
    desk.take(birth(5, "offline"))
    assert state() == "offline"
    desk.take(birth(1, "online", stream="new card"))
    assert state() == "online"
    assert desk.changes[-1].births == {"a": True}


def test_the_newest_health_is_a_slot_and_the_history_has_all(desk: Desk) -> None:
    desk.take(message("a", "health", time="1"), message("a", "health", time="2"))
    assert len(desk.rows(tables.health)) == 2
    with desk.database.read() as connection:
        slot = read_slots(connection, ["a"])["a", Channel.HEALTH]
    assert json.loads(slot.payload) == {"time": "2"}
    assert slot.received == 1000.0


def test_a_reply_is_taken_once_and_from_the_device_that_was_asked_alone(desk: Desk) -> None:
    with desk.database.write() as connection:
        values = {"correlation": "c", "device": "a", "name": "ping", "arguments": {}, "created": 1.0, "expires": 2.0}
        connection.execute(sa.insert(tables.commands).values(**values))
    desk.take(message("b", "reply", correlation="c", status="ok", who="b"))
    assert desk.rows(tables.commands)[0].status is None
    desk.take(message("a", "reply", correlation="c", status="ok"), message("a", "reply", correlation="c", status="error"))
    assert desk.rows(tables.commands)[0].status == "ok"
    assert desk.changes[-1].replies == ["c", "c"]


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    database = open_database(sqlite_url(tmp_path / "controller.db"))
    intake = Intake(database, lambda *_args, **_more: True, IntakeSettings(queue_messages=2), lambda _changes: None)
    for _ in range(5):
        intake.put("sh/v1/a/up/health", b"{}")
    assert intake.counters["overflow"] == 3
    database.close()


def test_a_message_that_the_database_cannot_hold_is_found_and_the_batch_goes_in(desk: Desk) -> None:
    with desk.database.write() as connection:
        connection.execute(
            sa.text(
                "CREATE TRIGGER refuse BEFORE INSERT ON results WHEN NEW.result_id = 'bomb' "
                "BEGIN SELECT RAISE(ABORT, 'cannot hold'); END"
            )
        )
    desk.take(result("a", 1, "r1"), result("a", 9, "bomb"), result("a", 2, "r2"))
    assert [row.result_id for row in desk.rows(tables.results)] == ["r1", "r2"]
    assert [row.seq for row in desk.rows(tables.refused)] == [9]
    assert {seq for _, ack in desk.sent for low, high in ack.ranges for seq in range(low, high + 1)} == {1, 2, 9}


def alarm(state: str, **more: Any) -> dict[str, Any]:
    fields = {"id": "a1", "state": state, "since": "2026-01-01T00:00:00Z", "severity": "warning", "text": "cold"}
    return {"alarm": fields | more}


def test_a_results_alarm_has_a_row_of_its_own_until_it_is_cleared(desk: Desk) -> None:
    desk.take(result("a", 1, "r1", outcome={"alarm": None}), result("a", 2, "r2", outcome=alarm("raised")))
    desk.now = 2000.0
    desk.take(result("b", 1, "r2", outcome=alarm("raised")), result("a", 3, "r3", outcome=alarm("cleared")))
    rows = {row.device: row for row in desk.rows(tables.alarms)}
    assert {device: (row.state, row.first_received, row.received) for device, row in rows.items()} == {
        "a": ("cleared", 1000.0, 2000.0),
        "b": ("raised", 2000.0, 2000.0),
    }
    assert (rows["a"].alarm_id, rows["a"].pipeline, rows["a"].source, rows["a"].text) == ("a1", "frost", "x", "cold")


@pytest.mark.parametrize("broken", ["high", {"id": 5}, {"id": "a", "state": "raised", "severity": "x" * 99}, []])
def test_an_alarm_that_cannot_be_read_does_not_cost_the_result(desk: Desk, broken: Any) -> None:
    desk.take(result("a", 1, "r1", outcome={"alarm": broken}))
    assert (len(desk.rows(tables.results)), desk.rows(tables.alarms)) == (1, [])
    assert len(desk.sent) == 1
