"""The room with a real loop, real files and the real validating child; the trust child hands over what a test gives it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.configuring.child import start
from edge_agent.configuring.configurator import Configurator
from edge_agent.configuring.record import Flow, Record
from edge_agent.loop import Loop
from edge_agent.settings import AgentSettings
from edge_agent.updates.ledger import Floors
from edge_agent.updates.trust.job import Done, Failed, Job, Message, MetadataValid
from fleet_contract.configuration import ConfigurationState as State
from fleet_contract.configuration import DesiredConfiguration
from fleet_contract.reasons import Reason

GOOD = '[[pipelines]]\nname = "echo"\n[pipelines.decision]\nabove = 20.0\n'


class Metadata:
    """The update room's part."""

    def __init__(self) -> None:
        self.floors, self.fetching, self.seen, self.received = Floors(), False, 0, 0

    def take_in(self, seen: MetadataValid) -> None:
        self.seen += 1

    def receive(self, amount: int) -> None:
        self.received += amount


class Handing:
    """A trust child that answers at once with what lies in `texts`, or with `failure`."""

    def __init__(self, folder: Path, loop: Loop) -> None:
        self.folder, self.loop = folder, loop
        self.texts: dict[int, str] = {}
        self.failure: Failed | None = None
        self.jobs: list[Job] = []
        self.cancelled = 0
        self._running = 0

    def start(self, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> "Handing":
        self.jobs.append(job)
        self._running = len(self.jobs)
        self.loop.post(self._answer, job, on_line, self._running)
        return self

    def _answer(self, job: Job, on_line: Callable[[Message], None], number: int) -> None:
        assert job.configuration is not None
        if number != self._running:
            return  # cancelled
        if self.failure is not None:
            on_line(self.failure)
            return
        data = self.texts[job.configuration.revision].encode()
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / f"{digest}.toml"
        path.write_bytes(data)
        on_line(Done(path=str(path), digest=f"sha256:{digest}", version=str(job.configuration.revision), received=700))

    def cancel(self) -> None:
        self.cancelled += 1
        self._running = 0


class Device:
    """One agent's configuring room; `again` is a start after a stop or a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "agent.toml"
        for name in ("token", "root.json"):
            (folder / name).write_text("x")
        self.path.write_text(
            f'device = "farm-1"\nstate_dir = "{folder}/state"\n[mqtt]\n[site]\n'
            f'[updates]\nurl = "http://fleet"\ntoken_file = "{folder}/token"\nroot_file = "{folder}/root.json"\n'
            'max_attempts = 2\nretry_min = "10ms"\nretry_max = "10ms"\n'
            '[updates.configuration]\ntime = "0s"\nreach = "0s"\n'
            '[[pipelines]]\nname = "echo"\n[pipelines.source]\ntopic = "farm/+/weather"\n'
            '[pipelines.decision]\nreading = "t"\nabove = 30.0\n'
        )
        self.loop = Loop()
        self.trust = Handing(folder, self.loop)
        self.metadata = Metadata()
        self.flows: dict[str, Flow] = {}
        self.reached = True
        self.notes: list[dict[str, Any]] = []
        self.live: list[AgentSettings] = []
        self.restarts = 0
        self.again()

    def again(self) -> None:
        started = start(self.path)
        self.settings = started.settings
        self.room = self._make(started.settings, started.record)
        self.room.start()

    def _make(self, settings: AgentSettings, record: Record) -> Configurator:
        return Configurator(
            settings,
            self.path,
            record,
            loop=self.loop,
            trust=self.trust,
            metadata=self.metadata,
            flows=lambda: self.flows,
            reached=lambda: self.reached,
            note=lambda **note: self.notes.append(note),
            on_change=lambda: None,
            apply_live=self.live.append,
            restart=self._restarted,
            jitter=lambda: 0.0,
            look=0.01,
        )

    def _restarted(self) -> None:
        self.restarts += 1

    def desire(self, revision: int | None, text: str = "") -> None:
        if revision is not None:
            self.trust.texts[revision] = text
        self.room.on_desired(None if revision is None else DesiredConfiguration(name="farm", revision=revision))

    def until(self, condition: Callable[[], bool]) -> None:
        assert self.loop.run_until(condition, 60.0), self.room.report()

    def restart(self) -> None:
        """Let the restart that was asked for happen."""
        self.until(lambda: self.restarts > 0)
        self.restarts = 0
        self.room.stop()
        self.again()

    @property
    def state(self) -> State | None:
        report = self.room.report()
        return None if report is None else report.state

    @property
    def above(self) -> float | None:
        return self.settings.pipelines[0].decision.above


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    yield made
    made.room.stop()
    made.loop.close()


def test_a_revision_is_fetched_checked_and_used_after_the_restart_that_it_asks_for(device: Device) -> None:
    device.desire(1, GOOD)
    device.until(lambda: device.state is State.APPLYING)
    report = device.room.report()
    assert report is not None
    assert (report.restart, report.running_name) == (("pipelines.echo",), "")
    device.restart()
    assert device.above == 20.0
    device.until(lambda: device.state is State.COMMITTED)


def test_what_is_live_needs_no_restart(device: Device) -> None:
    device.desire(1, 'log_level = "debug"\n')
    device.until(lambda: device.state is State.COMMITTED)
    assert [settings.log_level for settings in device.live] == ["debug"]
    assert device.restarts == 0


def test_a_wrong_one_is_refused_with_its_reason_and_not_tried_again(device: Device) -> None:
    device.desire(1, '[mqtt]\nhost = "evil"\n')
    device.until(lambda: device.state is State.REJECTED)
    report = device.room.report()
    assert report is not None
    assert report.reason == Reason.KEY_NOT_ALLOWED
    assert device.notes[-1]["reason"] == Reason.KEY_NOT_ALLOWED
    device.desire(1, GOOD)
    assert len(device.trust.jobs) == 1


def test_attempts_are_bounded(device: Device) -> None:
    device.trust.failure = Failed(reason=Reason.DOWNLOAD_FAILED, detail="away", temporary=True)
    device.desire(1, GOOD)
    device.until(lambda: device.state is State.REJECTED)
    assert len(device.trust.jobs) == 2


def test_it_is_busy_from_the_fetch_to_the_restart_that_ends_it(device: Device) -> None:
    assert not device.room.busy
    device.desire(1, GOOD)
    seen = {(device.state, device.room.busy)}

    def asks_for_a_restart() -> bool:
        seen.add((device.state, device.room.busy))
        return device.restarts > 0

    device.until(asks_for_a_restart)
    assert {state for state, _ in seen} == {State.FETCHING, State.CHECKING, State.APPLYING}
    assert all(busy for _, busy in seen)
    device.restart()
    assert not device.room.busy


def test_it_is_busy_until_the_restart_that_takes_it_back(device: Device) -> None:
    device.desire(1, GOOD)
    device.until(lambda: device.restarts > 0)
    device.reached = False
    device.restart()
    device.until(lambda: device.state is State.ROLLED_BACK)
    assert device.room.busy


def test_what_every_attempt_has_received_counts(device: Device) -> None:
    device.trust.failure = Failed(reason=Reason.DOWNLOAD_FAILED, detail="away", temporary=True, received=50)
    device.desire(1, GOOD)
    device.until(lambda: device.metadata.received == 50)
    device.trust.failure = None
    device.until(lambda: device.state is State.APPLYING)
    assert device.metadata.received == 50 + 700


def test_a_server_that_asks_for_time_gets_it(device: Device) -> None:
    device.path.write_text(device.path.read_text().replace('retry_max = "10ms"', 'retry_max = "1h"'))
    device.room.stop()
    device.again()
    device.trust.failure = Failed(reason=Reason.DOWNLOAD_FAILED, detail="busy", temporary=True, retry_after=3600.0)
    device.desire(1, GOOD)
    device.until(lambda: device.state is State.WAITING and device.room._waiting is not None)
    device.loop.run_until(lambda: len(device.trust.jobs) > 1, 0.1)
    assert len(device.trust.jobs) == 1


def test_the_files_of_refused_revisions_do_not_gather(device: Device) -> None:
    for revision in (1, 2):
        device.desire(revision, '[mqtt]\nhost = "evil"\n')
        device.until(lambda: device.state is State.REJECTED)
    assert list((device.folder / "state" / "configuration").glob("*.toml")) == []


def test_it_waits_while_an_update_has_the_signed_metadata(device: Device) -> None:
    device.metadata.fetching = True
    device.desire(1, GOOD)
    device.loop.run_until(lambda: False, 0.05)
    assert (device.state, device.trust.jobs) == (State.WAITING, [])
    assert not device.room.busy  # else each would wait for the other
    device.metadata.fetching = False
    device.until(lambda: device.state is State.APPLYING)


def test_without_the_broker_it_is_taken_back_and_going_back_needs_no_fetch(device: Device) -> None:
    device.desire(1, GOOD)
    device.restart()
    device.until(lambda: device.state is State.COMMITTED)
    device.reached = False
    device.desire(2, GOOD.replace("20.0", "10.0"))
    device.restart()
    assert device.above == 10.0
    device.restart()
    assert device.above == 20.0
    report = device.room.report()
    assert report is not None
    assert (report.state, report.reason, report.running_revision) == (State.ROLLED_BACK, Reason.BROKER_UNREACHABLE, 1)
    device.desire(1)
    assert device.state is State.COMMITTED
    assert [job.configuration.revision for job in device.trust.jobs if job.configuration] == [1, 2]


def test_a_silent_pipeline_is_found_by_what_it_did_before(device: Device) -> None:
    device.flows = {"echo": Flow(events=100, answers=100, seconds=10.0)}
    device.desire(1, GOOD)
    device.until(lambda: device.restarts > 0)
    device.flows = {"echo": Flow(events=50)}
    device.restart()
    device.restart()
    report = device.room.report()
    assert report is not None
    assert (report.state, report.reason, report.running_name) == (State.ROLLED_BACK, Reason.PIPELINE_SILENT, "")
    assert device.above == 30.0


def test_nothing_desired_any_more_is_the_own_file_alone(device: Device) -> None:
    device.desire(1, GOOD)
    device.restart()
    device.until(lambda: device.state is State.COMMITTED)
    device.desire(None)
    device.restart()
    assert device.above == 30.0
    device.until(lambda: device.state is State.COMMITTED)


def test_another_wish_in_the_middle_takes_over(device: Device) -> None:
    device.desire(1, GOOD)
    device.desire(2, GOOD.replace("20.0", "10.0"))
    device.restart()
    assert device.above == 10.0
    assert device.trust.cancelled > 0


def test_what_is_replaced_on_probation_is_not_what_is_gone_back_to(device: Device) -> None:
    device.reached = False
    device.path.write_text(device.path.read_text().replace('reach = "0s"', 'reach = "1h"'))
    device.room.stop()
    device.again()
    device.desire(1, GOOD)
    device.restart()
    assert device.state is State.PROBATION
    device.desire(2, GOOD.replace("20.0", "10.0"))
    device.restart()
    assert device.above == 10.0
    stored = msgspec.json.decode((device.folder / "state" / "configuration" / "state.json").read_bytes(), type=Record)
    assert stored.previous is None


def test_a_refused_successor_takes_an_unproven_one_with_it(device: Device) -> None:
    device.reached = False
    device.path.write_text(device.path.read_text().replace('reach = "0s"', 'reach = "1h"'))
    device.room.stop()
    device.again()
    device.desire(1, GOOD)
    device.restart()
    device.desire(2, '[mqtt]\nhost = "evil"\n')
    device.restart()
    assert device.above == 30.0
    assert device.state is State.REJECTED
