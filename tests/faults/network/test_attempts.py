"""The daemon's update room over real children: how often it tries, how long it waits, how quickly it lets go."""

import hashlib
import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from edge_agent.loop import Loop
from edge_agent.update_settings import ProbationSettings, ShadowSettings, UpdateSettings
from edge_agent.updates.ports import Candidate, Failure
from edge_agent.updates.process import TrustProcesses
from edge_agent.updates.updater import Updater
from fleet_contract.delta import delta_name
from fleet_contract.messages import Desired, DesiredModel, NoteKind
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateReport, UpdateState
from fleet_controller.registry.delta_making import make_delta
from tests.faults.network.lab import MODEL, TOKEN, Answer, Liar, Signed, make_bundle

ATTEMPTS: Final = 3
PATIENCE: Final = 60.0


class Room:
    """An update room whose neighbours say yes to everything."""

    def __init__(self, folder: Path, root: bytes, base: str, **settings: Any) -> None:
        self.loop = Loop()
        self.notes: list[dict[str, Any]] = []
        self.values: dict[str, bytes] = {}
        (folder / "token").write_text(TOKEN)
        (folder / "root.json").write_bytes(root)
        self._revisions = itertools.count(1)
        given: dict[str, Any] = {
            "url": base,
            "token_file": str(folder / "token"),
            "root_file": str(folder / "root.json"),
            "max_attempts": ATTEMPTS,
            "retry_min": 0.01,
            "retry_max": 600.0,
            "shadow": ShadowSettings(inputs=0),
            "probation": ProbationSettings(inputs=0, time=0.0),
        }
        self.updater = Updater(
            UpdateSettings(**given | settings),
            folder,
            loop=self.loop,
            values=self,
            trust=TrustProcesses(self.loop),
            stage=Stored(folder),
            models=Willing(self.loop),
            note=lambda **note: self.notes.append(note),
            on_change=lambda: None,
            jitter=lambda: 0.0,
        )
        self.updater.start()

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        self.values.update(values)
        self.loop.post(done, None)

    def want(self, *releases: int) -> None:
        models = tuple(DesiredModel(model=MODEL, release=release) for release in releases)
        self.updater.on_desired(Desired(revision=next(self._revisions), models=models))

    @property
    def report(self) -> UpdateReport:
        return self.updater.reports()[0]

    def until_state(self, state: UpdateState) -> None:
        self.until(lambda: any(report.state is state for report in self.updater.reports()))

    def until(self, done: Callable[[], bool]) -> None:
        assert self.loop.run_until(done, PATIENCE)


class Stored:
    """Bundles on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "models"
        self._folder.mkdir()

    def stage(self, model: str, release: int, path: Path, digest: str) -> Path:
        return path.rename(self._folder / digest)

    def folder(self, model: str, digest: str) -> Path | None:
        path = self._folder / digest
        return path if path.exists() else None

    def models(self) -> frozenset[str]:
        return frozenset()

    def keep(self, model: str, digests: frozenset[str]) -> None:
        pass


class Willing:
    """Models that pass every test."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def test(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        self._loop.post(done, None)

    activate = test

    def cancel_test(self, model: str) -> None:
        pass

    def shadow(self, model: str, on_lost: Callable[[Failure], None]) -> bool:
        return False

    def shadow_evidence(self, model: str) -> None:
        return None

    def figures(self, model: str) -> None:
        return None

    def suspend(self, model: str) -> None:
        pass

    deactivate = suspend


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    signed = Signed(tmp_path)
    signed.publish(make_bundle(tmp_path, 300_000))
    return signed


@pytest.fixture
def server(signed: Signed) -> Iterator[Liar]:
    server = Liar(signed.folder)
    yield server
    server.end()


@pytest.fixture
def room(tmp_path: Path, server: Liar) -> Iterator[Callable[..., Room]]:
    made: list[Room] = []

    def make(**settings: Any) -> Room:
        folder = tmp_path / "device"
        folder.mkdir()
        root = (server.folder / "metadata" / "1.root.json").read_bytes()
        made.append(Room(folder, root, f"http://127.0.0.1:{server.server_port}", **settings))
        return made[-1]

    yield make
    for each in made:
        each.updater.stop()
        each.loop.close()


def test_a_server_that_stays_broken_is_asked_a_bounded_number_of_times(server: Liar, room: Callable[..., Room]) -> None:
    server.misbehave = lambda answer, _data, _offset: answer.refuse(500)
    device = room()
    device.want(1)
    device.until_state(UpdateState.REJECTED)
    assert device.report.reason == Reason.DOWNLOAD_FAILED
    assert "status 500" in (device.report.detail or "")
    assert len(server.targets()) == ATTEMPTS
    assert [(note["kind"], note["state"]) for note in device.notes] == [(NoteKind.UPDATE, UpdateState.REJECTED)]


def test_a_file_that_is_not_there_is_asked_for_once(server: Liar, room: Callable[..., Room]) -> None:
    server.misbehave = lambda answer, _data, _offset: answer.refuse(404)
    device = room()
    device.want(1)
    device.until_state(UpdateState.REJECTED)
    assert len(server.targets()) == 1


def test_a_failure_that_passes_costs_a_wait_and_no_more(server: Liar, room: Callable[..., Room]) -> None:
    server.misbehave = lambda answer, data, _offset: answer.refuse(503) if len(server.targets()) < 3 else answer.give(data)
    device = room()
    device.want(1)
    device.until_state(UpdateState.COMMITTED)
    assert len(server.targets()) == 3


@pytest.mark.parametrize(("settings", "at_least", "at_most"), [({}, 1.0, 60.0), ({"retry_max": 0.02}, 0.0, 1.0)])
def test_the_server_says_how_long_to_wait_and_the_device_how_long_at_most(
    server: Liar, room: Callable[..., Room], settings: dict[str, float], at_least: float, at_most: float
) -> None:
    refused: list[float] = []

    def busy_once(answer: Answer, data: bytes, offset: int) -> None:
        if refused:
            answer.give(data, offset)
        else:
            answer.refuse(429, Retry_After="1")
            refused.append(time.monotonic())

    waits: list[float] = []
    server.misbehave = busy_once
    device = room(**settings)
    later = device.loop.call_later

    def noted(seconds: float, call: Callable[[], object]) -> Any:
        if refused:
            waits.append(seconds)
        return later(seconds, call)

    device.loop.call_later = noted  # type: ignore[method-assign]
    device.want(1)
    device.until_state(UpdateState.COMMITTED)
    assert at_least <= waits[0] < at_most


def test_cuts_that_bring_the_download_on_are_no_failed_attempts(server: Liar, room: Callable[..., Room]) -> None:
    def a_piece(answer: Answer, data: bytes, offset: int) -> None:
        answer.send_response(206 if offset else 200)
        named = {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"} if offset else {}
        answer.head(named | {"Content-Length": str(len(data) - offset)})
        answer.wfile.write(data[offset : offset + 70_000])

    server.misbehave = a_piece
    device = room()
    device.want(1)
    device.until_state(UpdateState.COMMITTED)
    assert len(server.targets()) == 5 > ATTEMPTS


def test_a_release_that_is_not_wanted_any_more_ends_its_slow_download_at_once(server: Liar, room: Callable[..., Room]) -> None:
    def drip(answer: Answer, data: bytes, offset: int) -> None:
        answer.send_response(200)
        answer.head({"Content-Length": str(len(data))})
        while not server.ending.wait(0.01):
            answer.wfile.write(b"x")

    server.misbehave = drip
    device = room()
    before = set(psutil.Process().children())
    device.want(1)
    device.until(lambda: bool(server.targets()))
    (child,) = set(psutil.Process().children()) - before
    device.want()
    device.until(lambda: not device.updater.reports())
    assert not child.is_running()
    assert device.notes[-1]["reason"] == Reason.SUPERSEDED


def with_a_second_release(signed: Signed, folder: Path, content: bytes) -> Path:
    """Publishes it, and makes the delta that leads to it."""
    (before,) = (signed.folder / "targets" / "models" / MODEL).iterdir()
    after = make_bundle(folder, 0, "1.1.0", content)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (before, after)]
    delta = signed.folder / "deltas" / delta_name(*digests)
    delta.parent.mkdir()
    make_delta(before, after, delta)
    signed.publish(after)
    return delta


@pytest.mark.parametrize("sound", [True, False])
def test_the_next_release_comes_as_a_delta_from_the_one_that_answers_and_whole_if_that_is_damaged(
    signed: Signed, server: Liar, room: Callable[..., Room], tmp_path: Path, sound: bool
) -> None:
    device = room()
    device.want(1)
    device.until_state(UpdateState.COMMITTED)
    assert not device.report.delta
    assert device.report.fetched_bytes == device.report.total_bytes > 300_000
    delta = with_a_second_release(signed, tmp_path, random.Random(5).randbytes(300_000) + b"more")
    if not sound:
        delta.write_bytes(delta.read_bytes()[:-1])
    server.asked.clear()
    told = len(device.notes)
    device.want(2)
    device.until(lambda: device.report.release == 2)
    device.until_state(UpdateState.COMMITTED)
    assert device.report.delta is sound
    assert len(server.deltas()) == 1
    assert len(server.targets()) == (0 if sound else 1)
    assert device.report.total_bytes > 300_000
    assert device.report.fetched_bytes == (delta.stat().st_size if sound else device.report.total_bytes)
    notes = [note["detail"] for note in device.notes[told:]]
    assert len(notes) == (1 if sound else 2)
    assert sound or "the whole bundle is fetched: piece" in notes[0]
