"""Giving, sending and measuring, on a SQLite file."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from fleet_contract.feedback import Feedback, Truth
from fleet_contract.messages import decode
from fleet_contract.reasons import Reason
from fleet_controller.feedback import giving
from fleet_controller.feedback.accuracy import By, Wanted, measure
from fleet_controller.feedback.giving import Answered, Feedbacks, Given
from fleet_controller.feedback.sending import Sending
from fleet_controller.store.database import open_database, sqlite_url
from fleet_controller.store.pruning import prune_feedback
from fleet_controller.store.slots import Channel, Slot, write_slots
from fleet_controller.store.tables import audit, devices, feedback, releases, results

DAY = 86_400


class World:
    """Two devices with results of two releases of frost, and what was published."""

    def __init__(self, path: Path) -> None:
        self.database = open_database(sqlite_url(path / "controller.db"))
        self.published: list[tuple[str, Feedback]] = []
        self.sending = Sending(self.database, self.publish, lambda: 0.0)
        self.feedbacks = Feedbacks(self.database, self.sending.send, lambda: 10.0)
        with self.database.write() as connection:
            for name in ("north", "south"):
                connection.execute(sa.insert(devices).values(device=name, labels={}, created=0.0))
            for release, version in ((1, "1.0.0"), (2, "2.0.0")):
                values = {"digest": "sha256:", "size": 1, "floor": 0, "manifest": {}, "created": 0.0}
                connection.execute(sa.insert(releases).values(model="frost", release=release, version=version, **values))

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        self.published.append((topic, decode(payload, Feedback)))
        return True

    def result(self, result_id: str, device: str = "north", release: int = 1, label: str = "frost", day: int = 0) -> None:
        outcome = {"label": label, "score": 0.9, "scores": {"frost": 0.5, "mild": 0.5} | {label: 0.9}}
        self._insert(result_id, device, release, day, outcome, {"name": "frost"})

    def value(self, result_id: str, score: float) -> None:
        self._insert(result_id, "north", 1, 0, {"score": score, "scores": {"score": score}}, {"name": "load"})

    def _insert(self, result_id: str, device: str, release: int, day: int, outcome: Any, model: Any) -> None:
        with self.database.write() as connection:
            connection.execute(
                sa.insert(results).values(
                    device=device,
                    result_id=result_id,
                    pipeline="p",
                    source="s",
                    model=model["name"],
                    release=release,
                    payload=msgspec.json.encode({"outcome": outcome, "model": model}),
                    received=float(day * DAY + 5),
                )
            )

    def slot(self, device: str, channel: Channel, **fields: Any) -> None:
        with self.database.write() as connection:
            write_slots(connection, {(device, channel): Slot("s", 1, msgspec.json.encode(fields), 0.0)})

    def give(self, result_id: str, label: str | None = None, value: float | None = None, **more: Any) -> Answered:
        return self.feedbacks.give([Given(Truth(result_id=result_id, label=label, value=value), **more)], "ann")

    def measure(self, **wanted: Any) -> dict[str, Any]:
        with self.database.read() as connection:
            return measure(connection, Wanted(**({"model": "frost"} | wanted)))


@pytest.fixture
def world(tmp_path: Path):
    made = World(tmp_path)
    yield made
    made.database.close()


def test_a_repeat_changes_nothing_and_a_correction_replaces_and_keeps_the_history(world: World) -> None:
    world.result("r1")
    assert (world.give("r1", "frost").taken, world.give("r1", "frost").repeated) == (1, 1)
    assert world.measure()["total"]["right"] == 1
    assert world.give("r1", "mild").corrected == 1
    assert world.measure()["total"]["right"] == 0
    history = world.feedbacks.history("r1")
    assert [(row["label"], row["replaced"] is None) for row in history] == [("frost", False), ("mild", True)]
    with world.database.read() as connection:
        actions = connection.execute(sa.select(audit.c.action, audit.c.subject, audit.c.operator)).all()
    assert [tuple(row) for row in actions] == [("feedback.give", "r1", "ann")] * 2


def test_what_is_refused_is_named_by_its_place_and_costs_the_others_nothing(world: World) -> None:
    world.result("r1")
    world.result("r2")
    world.result("both", "north")
    world.result("both", "south")
    world.value("v1", 3.0)
    truths = [
        Truth(result_id="nothing", label="frost"),
        Truth(result_id="r1", label="frost"),
        Truth(result_id="both", label="frost"),
        Truth(result_id="r2", label="frost"),
        Truth(result_id="r2", label="mild"),
        Truth(result_id="v1", label="frost"),
        Truth(result_id="r1"),
    ]
    answered = world.feedbacks.give([Given(truth) for truth in truths], "ann")
    assert answered.taken == 1
    assert {each.index: each.reason for each in answered.refused} == {
        0: Reason.UNKNOWN_RESULT,
        2: Reason.AMBIGUOUS_RESULT,
        3: Reason.CONTRADICTORY,
        4: Reason.CONTRADICTORY,
        5: Reason.BAD_FEEDBACK,
        6: Reason.BAD_FEEDBACK,
    }
    assert world.give("both", "frost", device="south").taken == 1
    assert world.give("r1", "frost", device="south").refused[0].reason is Reason.UNKNOWN_RESULT


def test_accuracy_is_measured_by_release_device_day_and_week(world: World) -> None:
    for number in range(10):
        world.result(f"a{number}", release=1, day=4)  # 1970-01-05, a Monday
        world.give(f"a{number}", "frost" if number < 8 else "mild")
    world.result("b1", device="south", release=2, label="mild", day=12)
    world.result("b2", device="south", release=2, day=13)
    world.give("b1", "mild")
    (first, second) = world.measure()["groups"]
    assert (first["release"], first["version"], first["results"], first["labelled"], first["right"]) == (1, "1.0.0", 10, 10, 8)
    assert (first["accuracy"], [round(bound, 3) for bound in first["interval"]]) == (0.8, [0.490, 0.943])
    assert first["confusion"] == {"frost": {"frost": 8}, "mild": {"frost": 2}}
    assert (second["release"], second["results"], second["labelled"], second["accuracy"]) == (2, 2, 1, 1.0)
    assert [each["device"] for each in world.measure(by=By.DEVICE)["groups"]] == ["north", "south"]
    days = world.measure(by=By.DAY)["groups"]
    assert [(each["day"], each["results"]) for each in days] == [("1970-01-05", 10), ("1970-01-13", 1), ("1970-01-14", 1)]
    weeks = [(each["week"], each["results"], each["labelled"]) for each in world.measure(by=By.WEEK)["groups"]]
    assert weeks == [("1970-01-05", 10, 10), ("1970-01-12", 2, 1)]
    assert world.measure(version="2.0.0")["total"]["labelled"] == 1
    assert world.measure(device="south", since=13.0 * DAY)["total"]["results"] == 1


def test_a_model_without_labels_has_a_mean_error(world: World) -> None:
    world.value("v1", 3.0)
    world.value("v2", 5.0)
    world.give("v1", value=4.0)
    world.give("v2", value=2.0)
    total = world.measure(model="load")["total"]
    assert (total["labelled"], total["mean_error"], total["accuracy"], total["right"]) == (2, 2.0, None, None)


def test_a_result_that_was_revised_is_judged_by_what_it_says_now(world: World) -> None:
    world.result("r1")
    world.give("r1", "mild")
    payload = msgspec.json.encode({"outcome": {"label": "mild", "score": 0.9, "scores": {"mild": 0.9}}, "model": {}})
    with world.database.write() as connection:
        connection.execute(sa.update(results).values(payload=payload))
    assert world.measure()["total"]["right"] == 1


def test_a_device_gets_one_message_at_a_time_only_while_it_is_online_and_again_until_it_reports(world: World) -> None:
    for number in range(300):
        world.result(f"r{number}")
        world.give(f"r{number}", "frost")
    assert world.published == []
    world.slot("north", Channel.BIRTH, state="online")
    world.sending.send_all()
    world.sending.send_all()
    topics, messages = zip(*world.published, strict=True)
    assert set(topics) == {"sh/v1/north/down/feedback"}
    assert [(each.number, len(each.truths)) for each in messages] == [(1, 256), (1, 256)]
    assert (messages[0] == messages[1], messages[0].truths[0].by) == (True, "ann")
    world.slot("north", Channel.REPORTED, feedback=0)
    assert world.sending.reported({"north"}) == set()
    world.slot("north", Channel.REPORTED, feedback=1)
    assert world.sending.reported({"north"}) == {"north"}
    world.sending.send_all()
    assert (world.published[-1][1].number, len(world.published[-1][1].truths)) == (2, 44)
    world.slot("north", Channel.REPORTED, feedback=2)
    world.sending.reported({"north"})
    world.published.clear()
    world.sending.send_all()
    assert world.published == []


def test_numbers_go_on_above_what_the_device_reports(world: World) -> None:
    world.slot("north", Channel.BIRTH, state="online")
    world.slot("north", Channel.REPORTED, feedback=41)
    world.result("r1")
    world.give("r1", "frost")
    assert [message.number for _, message in world.published] == [42]


def test_a_truth_that_was_corrected_before_it_went_is_not_sent_and_one_on_its_way_is_followed(world: World) -> None:
    world.result("r1")
    world.give("r1", "frost")
    world.give("r1", "mild")
    world.slot("north", Channel.BIRTH, state="online")
    world.sending.send_all()
    assert [truth.label for _, message in world.published for truth in message.truths] == ["mild"]
    world.give("r1", "frost")
    world.slot("north", Channel.REPORTED, feedback=1)
    world.sending.send(world.sending.reported({"north"}))
    assert world.published[-1][1] == Feedback(number=2, truths=(Truth(result_id="r1", label="frost", by="ann"),))


def test_beyond_the_bound_of_what_waits_for_a_device_truths_count_in_the_controller_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving, "MOST_WAITING", 1)
    for name in ("r1", "r2"):
        world.result(name)
    assert (world.give("r1", "frost").not_sent, world.give("r2", "frost").not_sent) == (0, 1)
    assert world.measure()["total"]["labelled"] == 2
    world.slot("north", Channel.BIRTH, state="online")
    world.sending.send_all()
    assert [len(message.truths) for _, message in world.published] == [1]


def test_feedback_goes_with_its_result(world: World) -> None:
    world.result("r1")
    world.result("r2")
    world.give("r1", "frost")
    world.give("r1", "mild")
    world.give("r2", "frost")
    with world.database.write() as connection:
        connection.execute(sa.delete(results).where(results.c.result_id == "r1"))
    assert prune_feedback(world.database) == 2
    with world.database.read() as connection:
        assert connection.execute(sa.select(feedback.c.result_id)).scalars().all() == ["r2"]
