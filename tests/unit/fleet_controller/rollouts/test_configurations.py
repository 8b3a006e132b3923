"""Rollouts of configurations, on a real SQLite file; devices are what intake would have stored."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fleet_contract.configuration import DesiredConfiguration
from fleet_controller.configurations import store
from fleet_controller.configurations.store import Revision
from fleet_controller.desired import DesiredStates
from fleet_controller.rollouts.engine import Engine
from fleet_controller.rollouts.machine import DeviceState, RolloutState
from fleet_controller.rollouts.policy import Kind
from fleet_controller.rollouts.service import Conflict, NotFound, Rollouts, Selection
from fleet_controller.settings import OnFailure, RolloutSettings
from fleet_controller.store import tables
from fleet_controller.store.database import Database, open_database, sqlite_url
from fleet_controller.store.slots import Channel, Slot, write_slots

ALL = Selection(all=True)


class Fleet:
    """A controller with two configurations, and two devices."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 1000.0
        self.desired = DesiredStates(database, lambda *_arguments, **_options: True, lambda: self.now)
        self.engine = Engine(database, self.desired, clock=lambda: self.now)
        defaults = RolloutSettings(soak=60.0, timeout=600.0, health_stale=30.0)
        self.rollouts = Rollouts(database, self.desired, self.engine, defaults, lambda: self.now)
        with database.write() as connection:
            for device in ("d1", "d2"):
                connection.execute(sa.insert(tables.devices).values(device=device, labels={}, created=1.0))
            for name, revision in (("farm", 1), ("farm", 2), ("old", 7)):
                row = Revision(
                    name=name, revision=revision, digest=f"sha256:{name}{revision}", content=b"", contract_low=1,
                    contract_high=None, agent="", operator=None, created=1.0,
                )  # fmt: skip
                store.add(connection, row)

    def wanted(self, device: str) -> tuple[str, int] | None:
        with self.database.read() as connection:
            found = self.desired.get(connection, device).configuration
        return None if found is None else (found.name, found.revision)

    def give(self, device: str, name: str, revision: int) -> None:
        with self.database.write() as connection:
            self.desired.configure(connection, device, DesiredConfiguration(name=name, revision=revision))

    def say(self, device: str, restarts: int = 0, **changes: Any) -> None:
        """The device runs what is desired of it, and says so but for `changes`."""
        with self.database.write() as connection:
            wanted = self.desired.get(connection, device)
            name, revision = (wanted.configuration.name, wanted.configuration.revision) if wanted.configuration else ("", 0)
            said = {
                "name": name, "revision": revision, "state": "committed", "running_name": name, "running_revision": revision,
                "running_digest": f"sha256:{name}{revision}",
            }  # fmt: skip
            reported = {"revision": wanted.revision, "configuration": said | changes}
            health = {"models": [{"model": "frost", "release": 1, "inferences": 5, "restarts": restarts}]}
            contents = ((Channel.BIRTH, {"state": "online"}), (Channel.REPORTED, reported), (Channel.HEALTH, health))
            write_slots(
                connection,
                {(device, channel): Slot("s", 1, json.dumps(content).encode(), self.now) for channel, content in contents},
            )

    def go_on(self, *devices: str, **said: Any) -> None:
        """A soak's time passes, in which these devices speak."""
        for _ in range(6):
            self.now += 15.0
            for device in devices:
                self.say(device, **said)
            self.engine.tick()

    def start(self, name: str = "farm", **options: Any) -> int:
        number = self.rollouts.start(name, ALL, kind=Kind.CONFIGURATION, **options).rollout.id
        self.engine.tick()
        return number

    def state(self, number: int) -> RolloutState:
        return self.rollouts.show(number).rollout.state


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    database = open_database(sqlite_url(tmp_path / "controller.db"))
    yield Fleet(database)
    database.close()


def test_the_canary_goes_first_and_the_rest_when_it_attests_the_revision_and_is_healthy(fleet: Fleet) -> None:
    number = fleet.start()
    assert [fleet.wanted(device) for device in ("d1", "d2")] == [("farm", 2), None]
    fleet.go_on("d1")
    assert fleet.wanted("d2") == ("farm", 2)
    fleet.go_on("d1", "d2")
    assert fleet.state(number) is RolloutState.DONE


@pytest.mark.parametrize(
    "said",
    [
        {"running_digest": "sha256:other"},
        {"running_name": "", "running_revision": 0, "state": "applying"},
        {"state": "probation"},
        {"restarts": 1},
    ],
)
def test_a_device_that_does_not_run_it_well_keeps_the_rest_as_they_are(fleet: Fleet, said: dict[str, Any]) -> None:
    fleet.start()
    fleet.go_on("d1", **said)
    assert fleet.wanted("d2") is None


@pytest.mark.parametrize(("state", "gate"), [("rejected", "device_rejected"), ("rolled_back", "device_rolled_back")])
def test_a_refusal_or_a_return_fails_the_gate_with_the_devices_own_reason(fleet: Fleet, state: str, gate: str) -> None:
    number = fleet.start()
    fleet.go_on("d1", state=state, reason="pipeline_silent", running_name="", running_revision=0)
    view = fleet.rollouts.show(number)
    assert (view.rollout.state, view.rollout.reason) == (RolloutState.PAUSED, gate)
    assert {member.device: (member.state, member.reason) for member in view.members}["d1"] == (
        DeviceState.REJECTED,
        "pipeline_silent",
    )


def test_a_failed_gate_brings_back_what_each_device_had_whatever_its_name(fleet: Fleet) -> None:
    fleet.give("d1", "old", 7)
    fleet.say("d1")
    number = fleet.start(on_failure=OnFailure.RETURN, canary="0")
    assert [fleet.wanted(device) for device in ("d1", "d2")] == [("farm", 2), ("farm", 2)]
    fleet.go_on("d2", state="rejected", reason="key_not_allowed", running_name="", running_revision=0)
    assert fleet.state(number) is RolloutState.RETURNED
    assert [fleet.wanted(device) for device in ("d1", "d2")] == [("old", 7), None]


def test_models_that_are_desired_stay_as_they_are(fleet: Fleet) -> None:
    with fleet.database.write() as connection:
        fleet.desired.assign(connection, "d1", "frost", 3)
    fleet.start()
    with fleet.database.read() as connection:
        wanted = fleet.desired.get(connection, "d1")
    assert [(entry.model, entry.release) for entry in wanted.models] == [("frost", 3)]
    assert wanted.configuration == DesiredConfiguration(name="farm", revision=2, rollout="1")


def test_a_device_is_in_one_unfinished_rollout_of_a_configuration(fleet: Fleet) -> None:
    fleet.start()
    with pytest.raises(Conflict, match="rollout 1"):
        fleet.start("old")


def test_an_unknown_revision_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(NotFound, match="fleet config list"):
        fleet.start("farm", release=9)
