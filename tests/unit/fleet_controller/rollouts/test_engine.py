"""Engine and service on a real SQLite file; devices are what intake would have stored."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_contract.messages import Desired, decode
from fleet_controller.desired import DesiredStates
from fleet_controller.rollouts import store
from fleet_controller.rollouts.engine import Engine
from fleet_controller.rollouts.machine import DeviceState, RolloutState
from fleet_controller.rollouts.service import Conflict, NotFound, Rollouts, Selection
from fleet_controller.settings import OnFailure, RolloutSettings
from fleet_controller.store import tables
from fleet_controller.store.database import Database, open_database, sqlite_url
from fleet_controller.store.slots import Channel, Slot, write_slots

ALL = Selection(all=True)


class Fleet:
    """A controller's rollouts, and devices that do as they are told."""

    def __init__(self, database: Database, devices: tuple[str, ...] = ("d1", "d2", "d3")) -> None:
        self.database = database
        self.now = 1000.0
        self.drift: dict[str, object] | None = None
        """That every device reports."""
        self.published: dict[str, list[Desired]] = defaultdict(list)
        self.desired = DesiredStates(database, self._publish, lambda: self.now)
        self.engine = Engine(database, self.desired, clock=lambda: self.now)
        defaults = RolloutSettings(soak=60.0, timeout=600.0, health_stale=30.0)
        self.rollouts = Rollouts(database, self.desired, self.engine, defaults, lambda: self.now)
        with database.write() as connection:
            for device in devices:
                labels = {"site": "farm" if device != "d3" else "city"}
                connection.execute(sa.insert(tables.devices).values(device=device, labels=labels, created=1.0))
            for release in (1, 2):
                values = {"version": f"{release}.0.0", "digest": f"sha256:{release}", "size": 1, "floor": 0, "manifest": {}}
                connection.execute(sa.insert(tables.releases).values(model="frost", release=release, created=1.0, **values))

    def _publish(self, topic: str, payload: bytes, **_properties: Any) -> bool:
        self.published[topic.split("/")[2]].append(decode(payload, Desired))
        return True

    def release_of(self, device: str) -> int | None:
        with self.database.read() as connection:
            return self.desired.release_of(connection, device, "frost")

    def obey(self, *devices: str, refuse: bool = False, revision: int | None = None) -> None:
        """These devices run what is desired of them (or refuse it), and say so."""
        with self.database.write() as connection:
            values: dict[tuple[str, str], Slot] = {}
            for device in devices:
                wanted = self.desired.get(connection, device)
                runs = [
                    {"model": entry.model, "release": 1 if refuse else entry.release, "digest": f"sha256:{entry.release}"}
                    for entry in wanted.models
                ]
                updates = [
                    {"model": entry.model, "release": entry.release, "state": "rejected", "reason": "golden_mismatch"}
                    for entry in wanted.models
                    if refuse
                ]
                counts = {"inferences": 5, "drift": self.drift}
                work = [{"model": entry["model"], "release": entry["release"]} | counts for entry in runs]
                taken = wanted.revision if revision is None else revision
                for channel, content in (
                    (Channel.BIRTH, {"state": "online"}),
                    (Channel.REPORTED, {"revision": taken, "models": runs, "updates": updates}),
                    (Channel.HEALTH, {"models": work}),
                ):
                    values[device, channel] = Slot("s", 1, json.dumps(content).encode(), self.now)
            write_slots(connection, values)

    def go_on(self, *devices: str, times: int = 1) -> None:
        """A soak's time passes, in which these devices obey."""
        for _ in range(times * 5):
            self.now += 15.0
            self.obey(*devices)
            self.engine.tick()


@pytest.fixture
def fleet(tmp_path: Path):
    database = open_database(sqlite_url(tmp_path / "controller.db"))
    yield Fleet(database)
    database.close()


def states(fleet: Fleet, number: int) -> dict[str, str]:
    return {member.device: member.state.value for member in fleet.rollouts.show(number).members}


def test_the_canary_goes_first_and_the_rest_after_its_soak(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", ALL, release=1).rollout.id
    fleet.engine.tick()
    assert [fleet.release_of(device) for device in ("d1", "d2", "d3")] == [1, None, None]
    fleet.go_on("d2", "d3")
    assert fleet.release_of("d2") is None
    fleet.go_on("d1")
    assert [fleet.release_of(device) for device in ("d1", "d2", "d3")] == [1, 1, 1]
    fleet.go_on("d1", "d2", "d3", times=2)
    assert fleet.rollouts.show(number).rollout.state is RolloutState.DONE
    assert states(fleet, number) == {"d1": "healthy", "d2": "healthy", "d3": "healthy"}


def test_one_rollout_that_cannot_be_looked_at_does_not_hold_up_the_others(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    first = fleet.rollouts.start("frost", Selection(devices=("d1",)), release=1).rollout.id
    second = fleet.rollouts.start("frost", Selection(devices=("d2",)), release=1).rollout.id
    with fleet.database.write() as connection:
        connection.execute(sa.update(tables.rollout_devices).where(tables.rollout_devices.c.rollout == first).values(state="?"))
    fleet.engine.tick()
    assert fleet.release_of("d1") is None
    assert fleet.release_of("d2") == 1
    assert fleet.engine.counters["engine_errors"] == 1
    assert caplog.records[-1].rollout == first  # type: ignore[attr-defined]
    assert second != first


def test_a_rollout_may_skip_shadowing_and_a_return_does_not_inherit_that(fleet: Fleet) -> None:
    first = fleet.rollouts.start("frost", ALL, release=1, canary="0").rollout.id
    fleet.engine.tick()
    fleet.go_on("d1", "d2", "d3", times=2)
    assert fleet.rollouts.show(first).rollout.state is RolloutState.DONE
    number = fleet.rollouts.start("frost", ALL, release=2, shadow=False).rollout.id
    fleet.engine.tick()
    assert [model.shadow for model in fleet.published["d1"][-1].models] == [False]
    fleet.rollouts.give_back(number)
    assert [(model.release, model.shadow) for model in fleet.published["d1"][-1].models] == [(1, True)]


def test_answers_that_drift_fail_the_gate_and_are_shown(fleet: Fleet) -> None:
    with pytest.raises(ValueError, match="no baseline"):
        fleet.rollouts.start("frost", ALL, release=2, max_drift=0.25)
    with fleet.database.write() as connection:
        connection.execute(sa.update(tables.releases).values(manifest={"baseline": "baseline.json"}))
    with pytest.raises(ValueError, match="above 0"):
        fleet.rollouts.start("frost", ALL, release=2, max_drift=0.0)
    number = fleet.rollouts.start("frost", ALL, release=2, max_drift=0.25).rollout.id
    fleet.engine.tick()
    worst = [{"name": "input.temp_min", "psi": 3.0}, {"name": "output.score", "psi": 0.31}]
    fleet.drift = {"judged": False, "worst": worst}
    fleet.go_on("d1")
    assert states(fleet, number)["d1"] == "attested"
    fleet.drift = {"judged": True, "worst": worst}
    fleet.go_on("d1")
    view = fleet.rollouts.show(number)
    assert (view.rollout.state, view.rollout.reason) == (RolloutState.PAUSED, "drift")
    assert view.drift == {"d1": 0.31}
    assert "0.31" in str(view.rollout.detail)


def test_looking_twice_changes_nothing(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", ALL).rollout.id
    fleet.engine.tick()
    before, published = fleet.rollouts.show(number), {device: len(sent) for device, sent in fleet.published.items()}
    fleet.engine.tick()
    assert fleet.rollouts.show(number) == before
    assert {device: len(sent) for device, sent in fleet.published.items()} == published


def test_a_refusal_pauses_and_names_device_and_reason(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", ALL, release=2).rollout.id
    fleet.engine.tick()
    fleet.obey("d1", refuse=True)
    fleet.engine.tick()
    rollout = fleet.rollouts.show(number).rollout
    assert (rollout.state, rollout.reason) == (RolloutState.PAUSED, "device_rejected")
    assert "d1: golden_mismatch" in (rollout.detail or "")
    fleet.go_on("d2", "d3", times=3)
    assert fleet.release_of("d2") is None
    fleet.rollouts.resume(number)
    fleet.engine.tick()
    assert fleet.rollouts.show(number).rollout.state is RolloutState.PAUSED


def test_a_refusal_returns_every_touched_device_to_its_previous_release_if_so_chosen(fleet: Fleet) -> None:
    fleet.rollouts.start("frost", Selection(devices=("d1",)), release=1)
    fleet.engine.tick()
    fleet.go_on("d1", times=2)
    number = fleet.rollouts.start("frost", ALL, release=2, canary="0", on_failure=OnFailure.RETURN).rollout.id
    fleet.engine.tick()
    fleet.obey("d2", refuse=True)
    fleet.engine.tick()
    assert fleet.rollouts.show(number).rollout.state is RolloutState.RETURNED
    assert [fleet.release_of(device) for device in ("d1", "d2", "d3")] == [1, None, None]
    assert [entry.release for entry in fleet.published["d1"][-1].models] == [1]
    assert fleet.published["d2"][-1].models == ()
    assert set(states(fleet, number).values()) == {"returned"}


def test_a_return_goes_to_what_answers_on_the_device_not_to_a_release_that_it_refused(fleet: Fleet) -> None:
    one = Selection(devices=("d1",))
    fleet.rollouts.start("frost", one, release=1)
    fleet.engine.tick()
    fleet.go_on("d1", times=2)
    refused = fleet.rollouts.start("frost", one, release=2).rollout.id
    fleet.engine.tick()
    fleet.obey("d1", refuse=True)
    fleet.engine.tick()
    fleet.rollouts.abort(refused)
    number = fleet.rollouts.start("frost", one, release=2).rollout.id
    fleet.engine.tick()
    fleet.rollouts.give_back(number)
    assert fleet.release_of("d1") == 1


def test_a_return_leaves_alone_what_was_desired_since(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", Selection(devices=("d1",)), release=1).rollout.id
    fleet.engine.tick()
    fleet.rollouts.abort(number)
    fleet.rollouts.start("frost", Selection(devices=("d1",)), release=2)
    fleet.engine.tick()
    fleet.rollouts.give_back(number)
    assert fleet.release_of("d1") == 2


def test_paused_means_that_no_wave_starts(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", ALL).rollout.id
    fleet.engine.tick()
    fleet.rollouts.pause(number)
    fleet.go_on("d1", times=3)
    assert fleet.release_of("d2") is None
    fleet.rollouts.resume(number)
    fleet.go_on("d1")
    fleet.go_on("d1")
    assert fleet.release_of("d2") == 2


def test_a_second_rollout_of_the_model_on_a_held_device_is_refused(fleet: Fleet) -> None:
    fleet.rollouts.start("frost", ALL)
    with pytest.raises(Conflict, match="still holds"):
        fleet.rollouts.start("frost", Selection(devices=("d2",)))


def test_selection_is_by_name_by_labels_or_all(fleet: Fleet) -> None:
    def chosen(selection: Selection) -> list[str]:
        return [member.device for member in fleet.rollouts.start("frost", selection, dry_run=True).members]

    assert chosen(Selection(labels={"site": "farm"})) == ["d1", "d2"]
    assert chosen(Selection(devices=("d3",))) == ["d3"]
    fleet.obey("d3")
    assert chosen(ALL) == ["d3", "d1", "d2"]
    for nothing in (Selection(), Selection(labels={"site": "moon"}), Selection(devices=("nobody",))):
        with pytest.raises(NotFound):
            chosen(nothing)
    with pytest.raises(NotFound, match="release 9"):
        fleet.rollouts.start("frost", ALL, release=9)
    assert fleet.rollouts.newest() == []


def test_a_forgotten_device_in_a_later_wave_fails_the_gate(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", ALL).rollout.id
    fleet.engine.tick()
    with fleet.database.write() as connection:
        connection.execute(sa.update(tables.devices).where(tables.devices.c.device == "d3").values(revoked=5.0))
    fleet.go_on("d1", "d2", times=2)
    rollout = fleet.rollouts.show(number).rollout
    assert (rollout.state, rollout.reason) == (RolloutState.PAUSED, "device_forgotten")
    assert states(fleet, number)["d3"] == DeviceState.LOST


def test_after_a_restore_the_revision_goes_on_above_what_the_device_knows(fleet: Fleet) -> None:
    fleet.obey("d1", revision=41)
    with fleet.database.write() as connection:
        assert fleet.desired.assign(connection, "d1", "frost", 1) == 42


def test_what_is_desired_overtakes_a_device_that_knows_a_higher_revision(fleet: Fleet) -> None:
    with fleet.database.write() as connection:
        fleet.desired.assign(connection, "d1", "frost", 1)
    fleet.obey("d1", "d2", revision=41)
    assert fleet.desired.overtake(["d1", "d2"]) == ["d1"]
    assert fleet.desired.overtake(["d1", "d2"]) == []
    with fleet.database.read() as connection:
        assert fleet.desired.get(connection, "d1").revision == 42


def test_a_device_that_comes_with_an_older_revision_is_behind(fleet: Fleet) -> None:
    with fleet.database.write() as connection:
        fleet.desired.assign(connection, "d1", "frost", 1)
    fleet.obey("d2")
    assert fleet.desired.behind(["d1", "d2"]) == ["d1"]
    fleet.obey("d1")
    assert fleet.desired.behind(["d1", "d2"]) == []


def test_publish_all_sends_what_a_broker_may_have_lost(fleet: Fleet) -> None:
    with fleet.database.write() as connection:
        fleet.desired.assign(connection, "d1", "frost", 1)
    fleet.desired.publish_all()
    assert [sent.revision for sent in fleet.published["d1"]] == [1]
    assert "d2" not in fleet.published


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), st.sampled_from(["d1", "d2"]), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.sampled_from(["d1", "d2"]), st.just(0)),
        st.tuples(st.just("reported"), st.sampled_from(["d1", "d2"]), st.integers(0, 50)),
        st.tuples(st.just("publish"), st.sampled_from(["d1", "d2"]), st.just(0)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("revisions")


@settings(max_examples=25, deadline=None)
@given(steps=_steps)
def test_what_is_published_never_goes_back_to_an_older_revision(module_path: Path, steps: list[tuple[str, str, int]]) -> None:
    file = module_path / "controller.db"
    for leftover in module_path.iterdir():
        leftover.unlink()
    database = open_database(sqlite_url(file))
    try:
        fleet = Fleet(database, ("d1", "d2"))
        for what, device, number in steps:
            if what == "reported":
                fleet.obey(device, revision=number)
                continue
            with database.write() as connection:
                if what == "assign":
                    fleet.desired.assign(connection, device, "frost", number)
                elif what == "remove":
                    fleet.desired.remove(connection, device, "frost")
            fleet.desired.publish([device])
        for sent in fleet.published.values():
            revisions = [message.revision for message in sent]
            assert revisions == sorted(revisions)
            contents = {message.revision: models_of(message) for message in sent}
            assert all(contents[message.revision] == models_of(message) for message in sent)
    finally:
        database.close()


def models_of(message: Desired) -> tuple[tuple[str, int], ...]:
    return tuple((entry.model, entry.release) for entry in message.models)


def test_members_survive_the_database(fleet: Fleet) -> None:
    number = fleet.rollouts.start("frost", ALL).rollout.id
    with fleet.database.write() as connection:
        member = replace(store.members(connection, number)[0], state=DeviceState.LOST, reason="x", assigned=1.5)
        store.save_members(connection, number, [member])
        assert store.members(connection, number)[0] == member
