"""The metadata is looked at when nothing is desired; time passes only as these tests say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from edge_agent.loop import Loop, Timer
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates.holding import Holding
from edge_agent.updates.ledger import Installed
from edge_agent.updates.refreshing import FIRST, LONGEST, SOON, Refreshing
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.trust.job import Done, Failed, Job, Message, MetadataValid
from fleet_contract.reasons import Reason

HOUR = 3600.0
NOW = 1_800_000_000.0
WEEK = 7 * 24 * HOUR


class Time:
    """A loop's timers, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Timer]] = []

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        timer = Timer(call)
        self.timers.append((self.now + delay, timer))
        return timer

    def post(self, call: Callable[..., object], *args: Any) -> None:
        call(*args)

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [item for item in self.timers if item[0] <= end]:
            at, timer = item = min(due, key=lambda each: each[0])
            self.timers.remove(item)
            self.now = at
            if (call := timer.take()) is not None:
                call()
        self.now = end


class Bench:
    """One Refreshing; the child answers what the test says."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        (folder / "token").write_text("t")
        self.stored: dict[str, bytes] = {}
        self.folder, self.time = folder, Time()
        self.jobs: list[Job] = []
        self.notes: list[dict[str, Any]] = []
        self.cancelled = self.changes = self.received = 0
        self.busy = False
        self.settings = UpdateSettings(
            url="http://controller", token_file=str(folder / "token"), root_file="root.json", **settings
        )
        self.boot()

    def boot(self) -> None:
        loop = cast(Loop, self.time)
        self.store = UpdateStore(self, loop, retry=1.0)
        self.refreshing = Refreshing(
            self.settings,
            self.folder,
            loop=loop,
            store=self.store,
            trust=self,
            holding=cast(Holding, self),
            note=lambda **note: self.notes.append(note),
            clock=lambda: NOW + self.time.now,
            jitter=lambda: 0.5,
            busy=lambda: self.busy,
            changed=self._changed,
        )
        self.refreshing.start()

    def _changed(self) -> None:
        self.changes += 1

    # what it needs of its neighbours
    left: int | None = None

    def receive(self, count: int) -> None:
        self.received += count

    def get(self, key: str) -> bytes | None:
        return self.stored.get(key)

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        self.stored.update(values)
        done(None)

    def start(self, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> "Bench":
        self.jobs.append(job)
        self.on_line, self.on_end = on_line, on_end
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def wait(self) -> float:
        """Until the next child runs; returns the seconds that this took."""
        before = self.time.now
        while not self.refreshing.running:
            self.time.pass_by(1.0)
            assert self.time.now < before + WEEK
        return self.time.now - before

    # what the child says
    def valid(self, **floors: int) -> None:
        self.on_line(
            MetadataValid(
                timestamp_version=len(self.jobs),
                timestamp_keys="k",
                release_floor=0,
                reference_time=NOW + self.time.now,
                floors=floors,
                expires=NOW + WEEK,
            )
        )
        self.on_line(Done(received=900))

    def failed(self, reason: Reason, *, temporary: bool = True) -> None:
        self.on_line(Failed(reason=reason, detail="why", temporary=temporary, received=10))

    def told(self) -> list[str | None]:
        return [note["reason"] for note in self.notes]

    def active(self, release: int) -> None:
        self.store.ledger.active["frost"] = Installed(
            model="frost", release=release, version="1", digest="sha256:a", since="2026-01-01T00:00:00Z"
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_metadata_is_looked_at_soon_after_the_start_and_at_every_interval(bench: Bench) -> None:
    bench.time.pass_by(FIRST)
    assert not bench.jobs
    bench.time.pass_by(FIRST)
    assert [(job.model, job.release) for job in bench.jobs] == [("", 0)]
    bench.valid()
    assert bench.wait() == bench.settings.refresh_interval
    assert bench.received == 900


def test_nothing_is_asked_of_a_spent_data_budget(bench: Bench) -> None:
    bench.left = 0
    bench.time.pass_by(2 * FIRST)
    assert not bench.jobs
    report = bench.refreshing.report()
    assert report is not None
    assert report.reason == Reason.DATA_BUDGET
    bench.left = 1000
    bench.wait()
    assert [job.budget for job in bench.jobs] == [1000]


def test_an_interval_of_0_and_a_device_without_a_server_never_look(tmp_path: Path) -> None:
    never = Bench(tmp_path, refresh_interval=0.0)
    never.time.pass_by(WEEK)
    assert not never.jobs
    never.settings = UpdateSettings()
    never.boot()
    never.time.pass_by(WEEK)
    assert not never.jobs
    assert never.refreshing.report() is None


def test_it_never_runs_beside_an_update_and_gives_way_to_one(bench: Bench) -> None:
    bench.busy = True
    bench.time.pass_by(3 * FIRST)
    assert not bench.jobs
    bench.busy = False
    bench.time.pass_by(SOON)
    assert bench.refreshing.running
    bench.refreshing.give_way()
    assert (bench.refreshing.running, bench.cancelled) == (False, 1)
    bench.time.pass_by(SOON)
    assert len(bench.jobs) == 2


def test_what_an_update_s_own_child_saw_counts_too(bench: Bench) -> None:
    valid = MetadataValid(timestamp_version=1, timestamp_keys="k", release_floor=2, reference_time=NOW, expires=NOW + WEEK)
    bench.refreshing.learn("frost", valid)
    bench.time.pass_by(2 * HOUR)
    assert not bench.jobs
    report = bench.refreshing.report()
    assert report is not None
    assert (report.floors, report.expires, report.expired) == ({"frost": 2}, "2027-01-22T08:00:00Z", False)


def test_what_a_configuration_s_child_saw_raises_floors_and_hides_no_failure(bench: Bench) -> None:
    bench.time.pass_by(2 * FIRST)
    bench.failed(Reason.METADATA_EXPIRED)
    valid = MetadataValid(
        timestamp_version=1,
        timestamp_keys="k",
        release_floor=0,
        reference_time=NOW,
        floors={"frost": 2},
        expires=NOW + WEEK,
    )
    bench.refreshing.learn_floors(valid)
    report = bench.refreshing.report()
    assert report is not None
    assert (report.floors, report.expires, report.expired) == ({"frost": 2}, None, True)
    bench.wait()


def test_a_revoked_release_that_answers_is_told_once_and_goes_on(bench: Bench) -> None:
    bench.active(3)
    bench.time.pass_by(2 * FIRST)
    bench.valid(frost=4, leak=1)
    for _ in range(2):
        bench.wait()
        bench.valid(frost=4)
    bench.active(3)
    bench.boot()
    bench.active(3)
    bench.wait()
    bench.valid(frost=4)
    assert bench.told() == [Reason.ACTIVE_REVOKED]
    assert (bench.notes[0]["model"], bench.notes[0]["release"]) == ("frost", 3)
    report = bench.refreshing.report()
    assert report is not None
    assert (report.revoked, report.floors) == ({"frost": 3}, {"frost": 4, "leak": 1})
    bench.active(4)
    report = bench.refreshing.report()
    assert report is not None
    assert report.revoked == {}


def test_expired_metadata_is_told_once_with_the_time_and_over_a_restart(bench: Bench) -> None:
    bench.time.pass_by(2 * FIRST)
    bench.valid()
    for _ in range(60):
        bench.wait()
        bench.failed(Reason.DOWNLOAD_FAILED)
    bench.boot()
    bench.wait()
    bench.failed(Reason.METADATA_EXPIRED)
    assert bench.told() == [Reason.METADATA_EXPIRED]
    assert "expired at 2027-01-22T08:00:00Z" in bench.notes[0]["detail"]
    report = bench.refreshing.report()
    assert report is not None
    assert (report.expired, report.reason) == (True, "metadata_expired")
    bench.wait()
    bench.valid()
    report = bench.refreshing.report()
    assert report is not None
    assert (report.reason, report.detail) == (None, None)


def test_metadata_that_is_expired_at_the_first_look_is_told_too(bench: Bench) -> None:
    bench.time.pass_by(2 * FIRST)
    bench.failed(Reason.METADATA_EXPIRED)
    bench.wait()
    bench.failed(Reason.METADATA_EXPIRED)
    assert bench.told() == [Reason.METADATA_EXPIRED]


def test_refused_metadata_is_told_once_and_an_unreachable_server_not_at_all(bench: Bench) -> None:
    bench.time.pass_by(2 * FIRST)
    bench.failed(Reason.DOWNLOAD_FAILED)
    for _ in range(2):
        bench.wait()
        bench.failed(Reason.SIGNATURE_INVALID, temporary=False)
    assert bench.told() == [Reason.SIGNATURE_INVALID]


def test_after_a_failure_it_is_tried_again_sooner_than_at_the_interval_and_soon_when_the_link_is_back(bench: Bench) -> None:
    bench.time.pass_by(2 * FIRST)
    bench.failed(Reason.DOWNLOAD_FAILED)
    bench.time.pass_by(bench.settings.retry_max)
    assert len(bench.jobs) == 2
    bench.on_end("the fetching process ended with status -9")
    bench.refreshing.on_connected()
    bench.time.pass_by(SOON)
    assert len(bench.jobs) == 3


def test_a_link_that_comes_back_changes_nothing_while_nothing_was_missed(bench: Bench) -> None:
    bench.time.pass_by(2 * FIRST)
    bench.valid()
    bench.refreshing.on_connected()
    bench.time.pass_by(HOUR)
    assert len(bench.jobs) == 1


def test_a_child_that_hangs_is_ended(bench: Bench) -> None:
    bench.wait()
    bench.time.pass_by(LONGEST)
    assert bench.cancelled == 1
    assert not bench.refreshing.running


def test_an_ended_room_looks_no_more(bench: Bench) -> None:
    bench.refreshing.stop()
    bench.time.pass_by(WEEK)
    assert not bench.jobs


def test_the_last_time_seen_is_the_reference_of_a_device_that_boots_in_1970(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.time.pass_by(2 * FIRST)
    bench.valid()
    seen = NOW + bench.time.now
    bench.time.now -= NOW
    bench.time.timers.clear()
    bench.boot()
    bench.time.pass_by(2 * FIRST)
    assert bench.jobs[-1].reference_time == seen
    assert msgspec.json.decode(msgspec.json.encode(bench.refreshing.report()))["expired"] is False
