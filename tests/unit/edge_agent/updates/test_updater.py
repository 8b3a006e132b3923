"""The driver on the real loop, with its neighbours in memory and a crash wherever one can happen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_agent.loop import Loop
from edge_agent.update_settings import ProbationSettings, ShadowSettings, UpdateSettings
from edge_agent.updates.conditions import Surroundings
from edge_agent.updates.history import DESIRED, RESTART
from edge_agent.updates.ledger import UpdateRecord
from edge_agent.updates.machine import RESUME, TRANSITIONS, Event
from edge_agent.updates.ports import Candidate, Failure
from edge_agent.updates.trust.job import Done, Failed, Fetched, Job, Message, MetadataValid, Progress, Verified
from edge_agent.updates.updater import Updater
from fleet_contract.bundle import BundleError
from fleet_contract.messages import Desired, DesiredModel, NoteKind
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures
from fleet_contract.update_report import UpdateState as State


def digest(release: int) -> str:
    return f"sha256:{release:064x}"


class PowerCut(BaseException):
    """The device is gone."""


@dataclass
class Disk:
    """What outlives a crash: values and unpacked bundles."""

    values: dict[str, bytes] = field(default_factory=dict)
    bundles: set[tuple[str, str]] = field(default_factory=set)
    writes: int = 0
    cut_at: int | None = None
    """Cut the power at this write, before it counts."""
    refuse: int = 0
    """Refuse this many writes."""


class Device:
    """One boot of a device: an Updater and its neighbours. `answers` decides what each neighbour says."""

    def __init__(self, folder: Path, disk: Disk, **settings: Any) -> None:
        self.disk = disk
        self.state_dir = folder
        self.loop = Loop()
        self.notes: list[dict[str, Any]] = []
        self.now = 1_700_000_000.0
        self.around = Surroundings()
        self.configuring = False
        self.received = 0
        self.states: list[tuple[int, State]] = []
        self.running: dict[str, int] = {}
        self.jobs: list[Job] = []
        self.offline = 0
        self.hang = False
        self.cancelled = 0
        self.floor = 0
        self.fetch_error: Failed | None = None
        self.stage_error: Exception | None = None
        self.test_failures: dict[int, Failure] = {}
        self.activate_failures: dict[int, Failure] = {}
        self.silent_test = False
        self.silent_activate = False
        self.dead = False
        (folder / "token").write_text("t\n")
        self.evidence: dict[str, Evidence] = {}
        self.live: dict[str, Figures] = {}
        self.lose_shadow: Callable[[Failure], None] | None = None
        values: dict[str, Any] = {
            "retry_min": 0.001,
            "retry_max": 0.001,
            "test_timeout": 5.0,
            "max_attempts": 3,
            "shadow": ShadowSettings(inputs=0),
            "probation": ProbationSettings(inputs=0, time=0.0),
        } | settings
        self.updater = Updater(
            UpdateSettings(url="http://controller", token_file=str(folder / "token"), root_file="root.json", **values),
            folder,
            loop=self.loop,
            values=self,
            trust=self,
            stage=self,
            models=self,
            note=self.note,
            on_change=self.on_change,
            clock=lambda: self.now,
            surroundings=lambda: self.around,
            configuring=lambda: self.configuring,
            jitter=lambda: 0.0,
            look=0.001,
        )

    # Values
    def get(self, key: str) -> bytes | None:
        return self.disk.values.get(key)

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        def commit() -> None:
            if self.dead:
                return
            self.disk.writes += 1
            if self.disk.writes == self.disk.cut_at:
                self.dead = True
                raise PowerCut
            if self.disk.refuse:
                self.disk.refuse -= 1
                done(OSError("disk full"))
                return
            self.disk.values.update(values)
            done(None)

        self.loop.post(commit)

    # Trust
    def start(self, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> "Device":
        self.jobs.append(job)
        state = {"live": True}
        self.cancel = lambda: state.update(live=False)
        lines: list[Message] = []
        if self.offline:
            self.offline -= 1
            lines.append(Failed(reason=Reason.DOWNLOAD_FAILED, detail="offline", temporary=True))
        else:
            valid = MetadataValid(
                timestamp_version=4, timestamp_keys="k", release_floor=self.floor, reference_time=job.reference_time
            )
            lines.append(valid)
            lines.append(Verified(version=f"{job.release}.0.0", digest=digest(job.release), length=100))
            if self.fetch_error is not None:
                lines.append(self.fetch_error)
            elif job.have == digest(job.release):
                lines.append(Done(path=None, digest=job.have, version=f"{job.release}.0.0"))
            elif not self.hang:
                lines.append(Progress(fetched=100, total=100, received=self.received * 3 // 4))
                lines.append(Fetched())
                lines.append(
                    Done(path=self.tar(), digest=digest(job.release), version=f"{job.release}.0.0", received=self.received)
                )
        for line in lines:
            self.loop.post(lambda line=line: on_line(line) if state["live"] else None)
        return self

    def tar(self) -> str:
        file = self.state_dir / "bundle.tar"
        file.write_bytes(b"tar")
        return str(file)

    def cancel(self) -> None:
        raise AssertionError("nothing was started")

    # Stage
    def stage(self, model: str, release: int, path: Path, digest: str) -> Path:
        if self.stage_error is not None:
            raise self.stage_error
        self.disk.bundles.add((model, digest))
        return Path(digest)

    def folder(self, model: str, digest: str) -> Path | None:
        return Path(digest) if (model, digest) in self.disk.bundles else None

    def models(self) -> frozenset[str]:
        return frozenset(model for model, _ in self.disk.bundles)

    def keep(self, model: str, digests: frozenset[str]) -> None:
        self.disk.bundles = {item for item in self.disk.bundles if item[0] != model or item[1] in digests}

    # Models
    def test(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        if not self.silent_test:
            self.loop.post(done, self.test_failures.get(candidate.release))

    def cancel_test(self, model: str) -> None:
        self.cancelled += 1

    def shadow(self, model: str, on_lost: Callable[[Failure], None]) -> bool:
        self.lose_shadow = on_lost
        return True

    def shadow_evidence(self, model: str) -> Evidence | None:
        return self.evidence.get(model, Evidence(candidate=Figures()))

    def figures(self, model: str) -> Figures | None:
        return self.live.get(model, Figures())

    def activate(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        if self.silent_activate:
            return
        failure = self.activate_failures.get(candidate.release)
        if failure is None:
            self.running[candidate.model] = candidate.release
        self.loop.post(done, failure)

    def suspend(self, model: str) -> None:
        self.running.pop(model, None)

    def deactivate(self, model: str) -> None:
        self.running.pop(model, None)

    def note(self, **fields: Any) -> None:
        self.notes.append(fields)

    def on_change(self) -> None:
        for report in self.updater.reports():
            if not self.states or self.states[-1] != (report.release, report.state):
                self.states.append((report.release, report.state))

    # driving
    def desire(self, revision: int, **models: int) -> bool:
        wanted = tuple(DesiredModel(model=name, release=release) for name, release in models.items())
        return self.updater.on_desired(Desired(revision=revision, models=wanted))

    def until(self, done: Callable[[], bool]) -> None:
        assert self.loop.run_until(done, 5), (self.states, self.notes)
        assert self.loop.errors == 0

    def ended(self, model: str, release: int, state: State) -> Callable[[], bool]:
        def look() -> bool:
            return any((item.model, item.release, item.state) == (model, release, state) for item in self.updater.reports())

        return look

    def settle(self, model: str, release: int, state: State) -> None:
        self.until(self.ended(model, release, state))
        self.until(lambda: self.updater._steps.current is None)

    def until_stored(self) -> None:
        self.until(lambda: not self.updater._store._writing)

    def end(self) -> None:
        self.updater.stop()
        self.loop.close()


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Callable[..., Device]]:
    devices: list[Device] = []
    disk = Disk()

    def make(**settings: Any) -> Device:
        if devices:
            devices[-1].dead = True
        device = Device(tmp_path, disk, **settings)
        devices.append(device)
        device.updater.start()
        return device

    yield make
    for device in devices:
        device.end()


@pytest.fixture
def device(boot: Callable[..., Device]) -> Device:
    return boot()


def committed(device: Device, revision: int, release: int) -> None:
    device.desire(revision, frost=release)
    device.settle("frost", release, State.COMMITTED)


def test_an_update_goes_through_every_state_and_ends_committed(device: Device) -> None:
    committed(device, 1, 1)
    assert [state for _, state in device.states] == [
        State.WAITING,
        State.FETCHING,
        State.VERIFYING,
        State.STAGING,
        State.TESTING,
        State.ACTIVATING,
        State.PROBATION,
        State.COMMITTED,
    ]
    assert device.running == {"frost": 1}
    assert [(item.release, item.version, item.digest) for item in device.updater.installed()] == [(1, "1.0.0", digest(1))]
    assert [(note["state"], note["release"], note["reason"]) for note in device.notes] == [(State.COMMITTED, 1, None)]


def test_a_desired_state_that_is_not_newer_is_ignored(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 5, 1)
    assert not device.desire(5, frost=2)
    assert not device.desire(4, frost=2)
    again = boot()
    assert again.updater.revision == 5
    assert not again.desire(5, frost=2)


def test_golden_samples_that_fail_keep_the_incumbent_and_are_not_tried_again(device: Device) -> None:
    committed(device, 1, 2)
    device.test_failures[3] = Failure(Reason.GOLDEN_MISMATCH, "sample 0")
    device.desire(2, frost=3)
    device.settle("frost", 3, State.REJECTED)
    assert device.running == {"frost": 2}
    assert device.updater.installed()[0].release == 2
    assert device.updater.reports()[0].reason == Reason.GOLDEN_MISMATCH
    assert device.notes[-1]["reason"] == Reason.GOLDEN_MISMATCH
    assert ("frost", digest(3)) not in device.disk.bundles
    jobs = len(device.jobs)
    device.desire(3, frost=3)
    device.until(lambda: device.updater.revision == 3 and not device.updater._store._writing)
    assert len(device.jobs) == jobs
    device.desire(4, frost=2)
    device.settle("frost", 2, State.COMMITTED)
    device.test_failures.clear()
    committed(device, 5, 3)


def test_a_temporary_failure_is_tried_again_until_it_works(device: Device) -> None:
    device.offline = 2
    committed(device, 1, 1)
    assert len(device.jobs) == 3


def test_attempts_are_bounded(device: Device) -> None:
    device.offline = 100
    device.desire(1, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert len(device.jobs) == 3
    assert device.notes[-1]["reason"] == Reason.DOWNLOAD_FAILED


@pytest.mark.parametrize("step", ["fetching", "staging"])
def test_a_full_disk_ends_no_update_however_long_it_lasts(device: Device, step: str) -> None:
    if step == "fetching":
        device.fetch_error = Failed(reason=Reason.DISK_FULL, detail="7 bytes are free", temporary=True)
    else:
        device.stage_error = OSError("full")
    device.desire(1, frost=1)
    device.until(lambda: len(device.jobs) > 8)
    report = device.updater.reports()[0]
    assert report.reason == Reason.DISK_FULL
    assert report.attempts <= 3
    device.fetch_error = device.stage_error = None
    device.settle("frost", 1, State.COMMITTED)


def test_a_permanent_failure_ends_at_once_and_raises_the_floors_all_the_same(device: Device) -> None:
    device.floor = 2
    device.fetch_error = Failed(reason=Reason.RELEASE_BELOW_FLOOR, detail="below 2", temporary=False)
    device.desire(1, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert len(device.jobs) == 1
    device.fetch_error = None
    committed(device, 2, 3)
    assert device.jobs[-1].release_floor == 2
    assert device.jobs[-1].timestamp_floor == 4
    device.desire(3, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert len(device.jobs) == 2
    assert device.updater.reports()[0].reason == Reason.RELEASE_BELOW_FLOOR


def test_another_desired_release_supersedes_the_one_under_way(device: Device) -> None:
    device.hang = True
    device.desire(1, frost=1)
    device.until(lambda: bool(device.jobs) and device.updater.reports()[0].total_bytes == 100)
    device.hang = False
    committed(device, 2, 2)
    assert [(note["release"], note["reason"]) for note in device.notes] == [(1, Reason.SUPERSEDED), (2, None)]
    assert device.running == {"frost": 2}


def test_a_fetch_that_takes_too_long_is_ended(boot: Callable[..., Device]) -> None:
    device = boot(fetch_timeout=0.01)
    device.hang = True
    device.desire(1, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert "not done within" in device.notes[-1]["detail"]


def test_golden_samples_that_never_finish_are_a_failure(boot: Callable[..., Device]) -> None:
    device = boot(test_timeout=0.01)
    device.silent_test = True
    device.desire(1, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert device.notes[-1]["reason"] == Reason.TEST_TIMEOUT
    assert device.cancelled == 1


def test_a_swap_that_fails_keeps_the_incumbent(device: Device) -> None:
    committed(device, 1, 1)
    device.activate_failures[2] = Failure(Reason.LOAD_FAILED, "no memory")
    device.desire(2, frost=2)
    device.settle("frost", 2, State.REJECTED)
    assert device.running == {"frost": 1}
    assert device.updater.installed()[0].release == 1
    assert device.cancelled == 1


def test_a_bundle_that_vanishes_before_the_swap_leaves_no_candidate_in_the_incumbents_place(device: Device) -> None:
    committed(device, 1, 1)
    activate = device.updater._trying.run_activate

    def vanish(record: Any) -> None:
        device.disk.bundles.discard(("frost", digest(2)))
        activate(record)

    device.updater._trying.run_activate = vanish  # type: ignore[method-assign]
    device.desire(2, frost=2)
    device.settle("frost", 2, State.REJECTED)
    assert device.running == {"frost": 1}
    assert device.cancelled == 1


def test_a_bundle_that_cannot_be_unpacked_is_rejected(device: Device) -> None:
    device.stage_error = BundleError(Reason.BUNDLE_INVALID, "x")
    device.desire(1, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert device.notes[-1]["reason"] == Reason.BUNDLE_INVALID
    assert len(device.jobs) == 1


def test_the_current_the_previous_and_the_first_bundle_stay_and_others_go(device: Device) -> None:
    for release in (1, 2, 3, 4):
        committed(device, release, release)
    assert device.disk.bundles == {("frost", digest(1)), ("frost", digest(3)), ("frost", digest(4))}


@pytest.mark.parametrize("offline", [0, 100])
def test_going_back_needs_no_download_and_works_offline(device: Device, offline: int) -> None:
    committed(device, 1, 1)
    committed(device, 2, 2)
    device.offline = offline
    device.states.clear()
    committed(device, 3, 1)
    assert [state for release, state in device.states if release == 1] == [
        State.WAITING,
        State.FETCHING,
        State.TESTING,
        State.ACTIVATING,
        State.PROBATION,
        State.COMMITTED,
    ]
    assert device.jobs[-1].have == digest(1)
    assert device.running == {"frost": 1}


def test_a_model_that_is_not_desired_any_more_stops_and_leaves_the_disk(device: Device) -> None:
    committed(device, 1, 1)
    device.desire(2)
    device.until(lambda: not device.disk.bundles)
    assert device.running == {}
    assert device.updater.reports() == ()
    assert device.updater.installed() == ()


def test_two_models_are_updated_one_after_the_other(device: Device) -> None:
    device.desire(1, frost=1, leak=4)
    device.settle("leak", 4, State.COMMITTED)
    assert device.running == {"frost": 1, "leak": 4}


def test_a_refused_write_is_tried_again_and_nothing_is_lost(device: Device) -> None:
    device.disk.refuse = 5
    committed(device, 1, 1)
    assert device.disk.refuse == 0


def test_an_active_model_that_no_longer_loads_gives_way_to_the_one_before_it(
    device: Device, boot: Callable[..., Device]
) -> None:
    committed(device, 1, 1)
    committed(device, 2, 2)
    device.disk.bundles.discard(("frost", digest(2)))
    again = boot()
    again.until(again.ended("frost", 2, State.ROLLED_BACK))
    again.until(lambda: again.running == {"frost": 1})
    assert again.notes[-1]["reason"] == Reason.BUNDLE_INVALID
    assert again.updater.installed()[0].release == 1
    third = boot()
    third.until(lambda: third.running == {"frost": 1})
    assert third.jobs == []


def test_a_broken_release_never_gives_way_to_a_revoked_one(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    device.floor = 2
    committed(device, 2, 2)
    device.disk.bundles.discard(("frost", digest(2)))
    again = boot()
    again.until(lambda: [item.release for item in again.updater.installed()] == [2] and bool(again.jobs))
    assert again.running == {"frost": 2}
    assert all(state is not State.ROLLED_BACK for _, state in again.states)


def test_the_only_release_is_tried_until_it_loads(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    again = boot(retry_min=0.01, retry_max=0.01)
    again.activate_failures[1] = Failure(Reason.LOAD_FAILED, "no memory")
    again.running.clear()
    again.updater._active._load(again.updater.installed()[0])
    again.until(lambda: again.updater._active._failures.get("frost", 0) >= 3)
    assert len(again.notes) == 1
    assert "cannot be loaded" in again.notes[0]["detail"]
    again.activate_failures.clear()
    again.until(lambda: again.running == {"frost": 1})


def test_a_device_that_is_slow_while_it_boots_does_not_go_back(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    committed(device, 2, 2)
    again = boot()
    again.until(lambda: not again.updater._active._starting)
    again.running.clear()
    again.activate_failures[2] = Failure(Reason.TEST_TIMEOUT, "busy")
    again.updater._active._load(again.updater.installed()[0])
    again.until(lambda: again.updater._active._failures.get("frost", 0) >= 1)
    again.activate_failures.clear()
    again.until(lambda: again.running == {"frost": 2})
    assert again.updater.reports()[0].state is State.COMMITTED


def test_the_only_bundle_is_fetched_again_when_it_is_gone(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    device.disk.bundles.clear()
    again = boot()
    again.until(lambda: again.running == {"frost": 1})
    assert len(again.jobs) == 1


@pytest.mark.parametrize("write", range(1, 9))
def test_a_power_cut_at_any_write_ends_in_the_new_release_and_the_old_one_answers_until_then(
    boot: Callable[..., Device], write: int
) -> None:
    device = boot()
    committed(device, 1, 1)
    device.disk.cut_at = device.disk.writes + write
    device.desire(2, frost=2)
    try:
        device.until(lambda: device.updater._steps.current is None and device.ended("frost", 2, State.COMMITTED)())
    except PowerCut:
        again = boot()
        assert again.updater.installed()[0].release == 1
        assert again.running == {"frost": 1}
        again.desire(2, frost=2)
        again.settle("frost", 2, State.COMMITTED)
        assert again.running == {"frost": 2}
    else:
        assert write > 7


def test_a_boot_loop_ends_in_the_last_good_model(boot: Callable[..., Device]) -> None:
    device = boot()
    committed(device, 1, 1)
    device.silent_test = True
    device.desire(2, frost=2)
    device.until(device.ended("frost", 2, State.TESTING))
    device.until(lambda: not device.updater._store._writing)
    for _ in range(2):
        device = boot()
        device.silent_test = True
        device.until_stored()
        assert device.updater.reports()[0].state is State.TESTING
    device = boot()
    device.settle("frost", 2, State.REJECTED)
    assert device.notes[-1]["reason"] == Reason.INTERRUPTED
    assert device.running == {"frost": 1}


def test_a_device_without_a_controller_says_so(tmp_path: Path, boot: Callable[..., Device]) -> None:
    device = boot()
    (tmp_path / "token").unlink()
    device.desire(1, frost=1)
    device.settle("frost", 1, State.REJECTED)
    assert "token" in device.notes[-1]["detail"]


# ---- live inputs: shadowing and probation


def test_a_quarantined_release_gives_way_at_once_and_is_not_tried_again(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    committed(device, 2, 2)
    device.updater.quarantine("frost", 1, "an answer of the release before")
    assert device.running == {"frost": 2}
    device.updater.quarantine("frost", 2, "6 causes")
    assert device.running == {}
    device.until(lambda: device.running == {"frost": 1})
    told = device.notes[-1]
    assert (told["reason"], told["release"], told["state"]) == (Reason.QUARANTINED, 2, State.ROLLED_BACK)
    assert told["detail"] == "back to release 1: 6 causes"
    jobs = len(device.jobs)
    device.desire(3, frost=2)
    device.until_stored()
    again = boot()
    again.until(lambda: again.running == {"frost": 1})
    assert len(device.jobs) == jobs
    assert again.jobs == []
    committed(again, 4, 3)
    assert again.running == {"frost": 3}


def test_a_quarantined_release_without_one_before_it_goes_on_and_says_so(device: Device) -> None:
    committed(device, 1, 1)
    device.updater.quarantine("frost", 1, "6 causes")
    assert device.running == {"frost": 1}
    assert device.updater.reports()[0].state is State.COMMITTED
    assert (device.notes[-1]["kind"], device.notes[-1]["reason"]) == (NoteKind.WORKER, Reason.QUARANTINED)
    assert "no release before it" in device.notes[-1]["detail"]


def test_the_release_before_takes_over_while_another_is_fetched(device: Device) -> None:
    committed(device, 1, 1)
    committed(device, 2, 2)
    device.hang = True
    device.desire(3, frost=3)
    device.until(device.ended("frost", 3, State.FETCHING))
    device.updater.quarantine("frost", 2, "6 causes")
    device.until(lambda: device.running == {"frost": 1})
    assert device.updater.reports()[0].state in (State.FETCHING, State.VERIFYING)


WATCHED = {"shadow": ShadowSettings(inputs=50, time=60.0), "probation": ProbationSettings(inputs=50, time=0.0)}
GOOD = Figures(inferences=200, p95_ms=20.0, confidence=0.9)
SLOW = Figures(inferences=60, p95_ms=90.0, confidence=0.9)


def first_release(device: Device) -> None:
    """There is nothing to stand beside or to go back to: it is proven at once."""
    device.live["frost"] = GOOD
    committed(device, 1, 1)
    assert device.updater.installed()[0].proven


def in_state(device: Device, release: int, state: State) -> None:
    device.until(device.ended("frost", release, state))
    device.until_stored()


def test_a_candidate_shadows_is_switched_to_and_is_proven(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    first_release(device)
    device.states.clear()
    device.desire(2, frost=2)
    in_state(device, 2, State.SHADOWING)
    assert device.running == {"frost": 1}
    device.live["frost"] = Figures()
    device.evidence["frost"] = Evidence(candidate=GOOD, incumbent=GOOD, compared=50, agreed=49)
    in_state(device, 2, State.PROBATION)
    assert device.running == {"frost": 2}
    assert not device.updater.installed()[0].proven
    device.live["frost"] = Figures(inferences=49, p95_ms=20.0, confidence=0.9)
    device.until(lambda: device.updater.reports()[0].evidence is not None)
    assert device.updater.reports()[0].state is State.PROBATION
    device.live["frost"] = Figures(inferences=50, p95_ms=20.0, confidence=0.9)
    in_state(device, 2, State.COMMITTED)
    assert device.updater.installed()[0].proven
    assert [state for _, state in device.states][-5:] == [
        State.TESTING,
        State.SHADOWING,
        State.ACTIVATING,
        State.PROBATION,
        State.COMMITTED,
    ]


def test_a_candidate_that_is_slow_beside_the_incumbent_never_answers(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    first_release(device)
    device.desire(2, frost=2)
    in_state(device, 2, State.SHADOWING)
    evidence = Evidence(candidate=SLOW, incumbent=GOOD, compared=30, agreed=30)
    device.evidence["frost"] = evidence
    device.settle("frost", 2, State.REJECTED)
    assert device.running == {"frost": 1}
    assert (device.notes[-1]["reason"], device.updater.reports()[0].evidence) == (Reason.LATENCY, evidence)
    assert device.cancelled == 1


def test_a_candidate_that_is_revoked_while_it_shadows_is_never_switched_to(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    first_release(device)
    device.desire(2, frost=2)
    in_state(device, 2, State.SHADOWING)
    device.updater._floors.releases["frost"] = 3
    device.evidence["frost"] = Evidence(candidate=GOOD, incumbent=GOOD, compared=50, agreed=50)
    device.settle("frost", 2, State.REJECTED)
    assert device.running == {"frost": 1}
    assert device.notes[-1]["reason"] == Reason.RELEASE_BELOW_FLOOR


def test_a_release_on_the_disk_that_was_revoked_while_it_waited_is_not_gone_back_to(boot: Callable[..., Device]) -> None:
    device = boot(retry_min=0.05, retry_max=0.05)
    committed(device, 1, 1)
    committed(device, 2, 2)
    device.fetch_error = Failed(reason=Reason.METADATA_EXPIRED, detail="expired", temporary=True)
    device.desire(3, frost=1)
    device.until(lambda: device.updater._steps.is_backing_off("frost"))
    device.updater._floors.releases["frost"] = 2
    device.settle("frost", 1, State.REJECTED)
    assert device.running == {"frost": 2}
    assert device.notes[-1]["reason"] == Reason.RELEASE_BELOW_FLOOR


def test_a_shadow_whose_worker_ends_is_refused(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    first_release(device)
    device.desire(2, frost=2)
    in_state(device, 2, State.SHADOWING)
    device.until(lambda: device.lose_shadow is not None)
    assert device.lose_shadow is not None
    device.lose_shadow(Failure(Reason.WORKER_CRASHED, "SIGSEGV"))
    device.settle("frost", 2, State.REJECTED)
    assert device.notes[-1]["reason"] == Reason.WORKER_CRASHED


def test_a_candidate_is_tried_again_beside_the_release_that_took_over(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.live["frost"] = GOOD
    in_state(device, 2, State.COMMITTED)
    device.evidence["frost"] = Evidence(candidate=Figures())
    device.desire(3, frost=3)
    in_state(device, 3, State.SHADOWING)
    device.states.clear()
    device.updater.quarantine("frost", 2, "6 causes")
    device.until(lambda: device.running == {"frost": 1})
    in_state(device, 3, State.SHADOWING)
    assert device.running == {"frost": 1}
    assert State.WAITING in [state for _, state in device.states]


def on_probation(device: Device, release: int = 2) -> None:
    first_release(device)
    device.evidence["frost"] = Evidence(candidate=GOOD, incumbent=GOOD, compared=50, agreed=50)
    device.live["frost"] = GOOD
    device.desire(2, frost=release)
    device.until(lambda: device.running == {"frost": release})
    device.live["frost"] = Figures()
    in_state(device, release, State.PROBATION)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (SLOW, Reason.LATENCY),
        (Figures(inferences=30, errors=5, p95_ms=20.0, confidence=0.9), Reason.ERROR_RATE),
        (Figures(inferences=30, p95_ms=20.0, confidence=0.3), Reason.CONFIDENCE),
        (Figures(crashes=1), Reason.WORKER_CRASHED),
    ],
)
def test_a_release_that_breaks_a_limit_on_probation_is_taken_back_offline(
    boot: Callable[..., Device], figures: Figures, reason: Reason
) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.offline = 10**6
    jobs = len(device.jobs)
    device.live["frost"] = figures
    device.settle("frost", 2, State.ROLLED_BACK)
    device.until(lambda: device.running == {"frost": 1})
    assert device.notes[-1]["reason"] == reason
    report = device.updater.reports()[0]
    assert report.evidence is not None
    assert (report.evidence.candidate, report.fetched_bytes > 0) == (figures, True)
    assert (device.updater.installed()[0].release, device.updater.installed()[0].proven) == (1, True)
    assert len(device.jobs) == jobs
    device.desire(3, frost=2)
    device.until(lambda: device.updater.revision == 3)
    device.until_stored()
    assert device.running == {"frost": 1}


def test_probation_goes_on_after_a_restart_with_what_it_has_seen(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.live["frost"] = Figures(inferences=30, p95_ms=20.0, confidence=0.9)
    device.until(lambda: device.updater._ledger.records["frost"].watched_inputs == 30)
    device.updater.watched(keep=True)
    device.until_stored()
    again = boot(**WATCHED)
    again.live["frost"] = Figures(inferences=19, p95_ms=20.0, confidence=0.9)
    again.until(lambda: again.updater._ledger.records["frost"].watched_inputs == 49)
    assert again.updater.reports()[0].state is State.PROBATION
    again.live["frost"] = Figures(inferences=20, p95_ms=20.0, confidence=0.9)
    again.settle("frost", 2, State.COMMITTED)


def test_a_boot_loop_on_probation_ends_in_the_release_before(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    for _ in range(3):
        device = boot(**WATCHED)
        device.live["frost"] = Figures()
        device.until_stored()
    device.settle("frost", 2, State.ROLLED_BACK)
    device.until(lambda: device.running == {"frost": 1})
    assert device.notes[-1]["reason"] == Reason.INTERRUPTED


def test_another_model_is_updated_while_one_is_on_probation(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.desire(3, frost=2, leak=1)
    device.settle("leak", 1, State.COMMITTED)
    assert device.updater.reports()[0].state is State.PROBATION


def test_a_release_that_was_never_proven_is_not_gone_back_to(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.live["frost"] = GOOD
    device.desire(3, frost=3)
    device.until(lambda: device.running == {"frost": 3})
    device.live["frost"] = Figures()
    in_state(device, 3, State.PROBATION)
    assert [(note["release"], note["reason"]) for note in device.notes if note["release"] == 2] == [(2, Reason.SUPERSEDED)]
    device.live["frost"] = Figures(crashes=1)
    device.settle("frost", 3, State.ROLLED_BACK)
    device.until(lambda: device.running == {"frost": 1})


def test_going_back_to_a_proven_release_asks_for_no_proof_again(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.live["frost"] = Figures()
    device.states.clear()
    committed(device, 3, 1)
    assert State.SHADOWING not in [state for _, state in device.states]
    assert device.updater.installed()[0].proven


def test_a_rollout_may_skip_shadowing(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    first_release(device)
    wanted = (DesiredModel(model="frost", release=2, shadow=False),)
    device.updater.on_desired(Desired(revision=2, models=wanted))
    device.until(lambda: device.running == {"frost": 2})
    assert State.SHADOWING not in [state for _, state in device.states]


@pytest.mark.parametrize("write", range(1, 13))
def test_a_power_cut_at_any_write_of_a_watched_update_ends_with_one_release_that_answers(
    boot: Callable[..., Device], write: int
) -> None:
    device = boot(**WATCHED)
    first_release(device)
    device.evidence["frost"] = Evidence(candidate=GOOD, incumbent=GOOD, compared=50, agreed=50)
    device.disk.cut_at = device.disk.writes + write
    device.desire(2, frost=2)
    try:
        device.settle("frost", 2, State.COMMITTED)
    except PowerCut:
        again = boot(**WATCHED)
        again.live["frost"] = GOOD
        again.evidence["frost"] = Evidence(candidate=GOOD, incumbent=GOOD, compared=50, agreed=50)
        again.until(lambda: again.running in ({"frost": 1}, {"frost": 2}))
        assert again.running["frost"] == again.updater.installed()[0].release
        again.desire(2, frost=2)
        again.settle("frost", 2, State.COMMITTED)
        assert again.running == {"frost": 2}
    else:
        assert write > 9


def test_the_log_of_an_update_is_a_chain_that_follows_the_table_over_restarts(boot: Callable[..., Device]) -> None:
    device = boot(**WATCHED)
    on_probation(device)
    device.until_stored()
    again = boot(**WATCHED)
    again.live["frost"] = Figures(crashes=1)
    again.settle("frost", 2, State.ROLLED_BACK)
    moves = again.updater.moves()["frost"]
    table = {(item.state, str(item.event)): item.target for item in TRANSITIONS}
    for before, after in pairwise([None, *moves]):
        assert after is not None
        if after.event == DESIRED:
            assert (after.before, after.after) == (None, State.WAITING)
            continue
        assert before is not None
        assert (after.before, after.release) == (before.after, before.release)
        assert after.before is not None
        expected = RESUME[after.before] if after.event == RESTART else table[after.before, after.event]
        assert after.after is expected
    assert [item.event for item in moves[-2:]] == [RESTART, Event.BREACHED]
    assert moves[-1].reason == Reason.WORKER_CRASHED
    assert again.updater.reports()[0].evidence is not None


def test_bundles_that_a_restart_has_left_are_removed_at_the_next_start(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    # As after restarts between the end of an update, or the removal of a model, and the removal of its bundles.
    device.disk.bundles |= {("frost", digest(7)), ("leak", digest(8))}
    again = boot()
    again.until(lambda: again.disk.bundles == {("frost", digest(1))})


def test_a_fresh_store_removes_no_bundles_that_it_knows_nothing_of(device: Device, boot: Callable[..., Device]) -> None:
    committed(device, 1, 1)
    device.until_stored()
    device.disk.values.clear()
    again = boot()
    again.until_stored()
    assert again.disk.bundles == {("frost", digest(1))}


def test_a_download_that_cannot_be_removed_holds_up_nothing(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    committed(device, 1, 1)


def test_a_model_that_is_removed_while_it_is_loaded_can_be_installed_again(device: Device) -> None:
    committed(device, 1, 1)
    device.until_stored()
    device.dead = True
    again = Device(device.state_dir, device.disk)
    again.silent_activate = True  # its load takes long, and is ended without a word when the model is removed
    again.updater.start()
    again.until_stored()
    again.desire(2)
    again.until_stored()
    again.silent_activate = False
    committed(again, 3, 1)
    again.end()


def test_superseding_an_update_that_waits_for_a_load_does_not_end_the_load(device: Device) -> None:
    committed(device, 1, 1)
    device.updater._active._starting.add("frost")  # the recorded release is being loaded
    record = UpdateRecord(model="frost", release=2, since="", state=State.TESTING, version="2.0.0", digest=digest(2))
    device.updater._ledger.records["frost"] = record
    device.updater._steps.current = record
    device.desire(2, frost=3)
    device.until(lambda: device.updater._ledger.records["frost"].release == 3)
    assert device.cancelled == 0


def test_a_server_that_gives_a_delta_and_a_whole_bundle_in_turn_is_not_asked_for_ever(device: Device) -> None:
    device.hang = True
    device.desire(1, frost=1)
    cut = Failed(reason=Reason.DOWNLOAD_FAILED, detail="cut", temporary=True)
    for attempt, sizes in enumerate(((10_000_000,), (1_000_000, 5_000_000), (1_000_000, 6_000_000)), 1):
        device.until(lambda attempt=attempt: len(device.jobs) == attempt)
        record = device.updater._ledger.records["frost"]
        device.until(lambda record=record: record.state is State.FETCHING)
        record.attempts = attempt
        for number, size in enumerate(sizes, 1):
            line = Progress(fetched=size, total=10_000_000, delta=number < len(sizes))
            device.updater._fetching._on_line(record, line)
        assert record.attempts == (1 if attempt == 1 else attempt)
        device.updater._fetching._on_line(record, cut)
    device.settle("frost", 1, State.REJECTED)
