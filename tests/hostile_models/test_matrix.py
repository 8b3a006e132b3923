"""Real hostile models at a real agent: each costs its own inputs, or its own update, and nobody else anything.

For each runtime one agent runs a healthy pipeline beside one of each hostile kind. Printed are the healthy pipeline's latencies
before, while and after each of them strikes; what is asserted is that none of its events was lost, repeated or held up until
the strike was over.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleet_controller.demo.brokers import Broker
from tests.faults.programs import until
from tests.hostile_models import onnx_files
from tests.hostile_models.device import HEALTHY, RATE, USERS, Device, Farm
from tests.hostile_models.onnx_files import LIMIT
from tests.hostile_models.releases import INCUMBENT, TRIED, Release, install
from tests.hostile_models.runtimes import RUNTIMES, Runtime

HARM = 3 * LIMIT
"""A reading that makes a hostile model strike: for the one that wants memory it is 8 GB."""
EVENTS = 20
"""For each hostile pipeline; one of them makes the model strike."""
QUIET = 50
"""Events of the healthy pipeline that are answered before and after each strike."""
AGAIN_AND_AGAIN = "again_and_again"
"""A model that crashes over many inputs, with a harmless release from before."""
MEANWHILE = 30
"""The same while it strikes, at least."""
PATIENCE = 60.0

LETTERS = {
    "crash": {"poison_input"},
    "endless_loop": {"deadline_exceeded"},
    "eight_gigabytes": {"bad_output", "poison_input"},  # a refused allocation is an error in some runtimes, a crash in others
    "wrong_shape": {"bad_output"},
    "not_a_number": {"bad_output"},
}
"""What the striking input ends as."""
REFUSALS = {
    "crash": {"worker_crashed"},
    "endless_loop": {"deadline_exceeded"},
    "eight_gigabytes": {"golden_mismatch", "worker_crashed"},
    "wrong_shape": {"golden_mismatch"},
    "not_a_number": {"golden_mismatch"},
    "crash_at_load": {"load_failed"},
    "crash_at_first_byte": {"load_failed"},
    "endless_load": {"load_failed"},
}
"""What a release ends as that strikes in its trial."""


@dataclass(frozen=True, slots=True)
class World:
    """A running agent with its hostile models, and who talks to it."""

    runtime: Runtime
    device: Device
    farm: Farm


@pytest.fixture(params=RUNTIMES, ids=lambda runtime: runtime.name)
def world(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: Callable[..., Broker]) -> Iterator[World]:
    runtime: Runtime = request.param
    incumbents = {HEALTHY: Release("onnx", onnx_files.harmless())}
    kept = {}
    for name, make in runtime.runs.items():
        incumbents[name] = Release(runtime.format, make())
        kept[name] = Release(runtime.format, make(), golden=((HARM, 2.0, HARM + 2.0),))
    for name, make in runtime.loads.items():
        incumbents[name] = Release(runtime.format, runtime.files.harmless())
        kept[name] = Release(runtime.format, make())
    incumbents[AGAIN_AND_AGAIN] = Release(runtime.format, runtime.runs["crash"]())
    kept[AGAIN_AND_AGAIN] = Release(runtime.format, runtime.files.harmless())
    install(tmp_path / "state", incumbents, kept)
    site = mosquitto(USERS)
    farm = Farm(site.port)
    with TemporaryDirectory(prefix="sh") as sockets:
        device = Device(tmp_path, Path(sockets) / "c.sock", site.port, list(incumbents), runtime.python(tmp_path))
        device.program.start()
        try:
            until(lambda: len(device.status().get("models", ())) == len(incumbents), device.program.log_tail, PATIENCE)
            yield World(runtime, device, farm)
        finally:
            device.program.stop()
            farm.close()


@pytest.mark.timeout(300)
def test_a_hostile_model_costs_its_own_inputs_and_its_own_update_alone(world: World) -> None:
    device, farm = world.device, world.farm
    farm.start()
    lines = []
    letters: Counter[tuple[str, str, str]] = Counter()
    be_quiet(farm)
    for name in world.runtime.runs:
        start = time.monotonic()
        struck = strike_by_input(world, name)
        lines.append((f"{name}: an input", start, struck_until(farm, start)))
        letters.update([struck])
        be_quiet(farm)
    start = time.monotonic()
    letters.update(strike_until_quarantined(world))
    lines.append((f"{AGAIN_AND_AGAIN}: inputs", start, struck_until(farm, start)))
    be_quiet(farm)
    desired = dict.fromkeys([HEALTHY, *world.runtime.runs, *world.runtime.loads, AGAIN_AND_AGAIN], INCUMBENT)
    details = []
    for name in REFUSALS:
        if name not in desired:
            continue
        start = time.monotonic()
        desired[name] = TRIED
        details.append(strike_by_update(world, name, desired))
        lines.append((f"{name}: a release", start, struck_until(farm, start)))
        be_quiet(farm)
    farm.finish()
    until(lambda: not farm.unanswered(HEALTHY), lambda: f"{len(farm.unanswered(HEALTHY))} healthy events left", PATIENCE)

    assert device.program.running
    assert any("by signal" in detail for detail in details), "no release here crashes this runtime any more: make one that does"
    assert device.letters() == letters
    for name, answers in farm.results.items():
        assert Counter(len(answer) for answer in answers.values()) == {1: len(answers)}, f"{name}: results were repeated"
        assert {event: answer[0].score for event, answer in answers.items()} == {event: farm.sums[event] for event in answers}
        others = {TRIED} if name == AGAIN_AND_AGAIN else set()
        assert {answer[0].release for answer in answers.values()} == {INCUMBENT} | others
    counters = device.status()["counters"]
    assert counters["loop_errors"] == 0
    report(world, lines)
    for name, start, end in lines:
        if name.startswith("endless"):  # the others are over too soon for anything to come meanwhile
            assert came_meanwhile(farm, start, end), name


def be_quiet(farm: Farm) -> None:
    """Let the healthy pipeline work for a while."""
    wanted = len(farm.results.get(HEALTHY, ())) + QUIET
    until(lambda: len(farm.results.get(HEALTHY, ())) >= wanted, "the healthy pipeline answers", PATIENCE)


def struck_until(farm: Farm, start: float) -> float:
    """The end of a strike: now, or once enough healthy events for a figure were published after its start and answered."""

    def answered() -> int:
        return sum(at >= start and event in farm.results[HEALTHY] for event, at in list(farm.sent[HEALTHY].items()))

    until(lambda: answered() >= MEANWHILE, "the healthy pipeline answers while a model strikes", PATIENCE)
    return time.monotonic()


def strike_by_input(world: World, name: str) -> tuple[str, str, str]:
    """Events for one hostile pipeline, one of which makes its model strike; returns the letter that this has to become."""
    farm = world.farm
    harmful = ""
    for number in range(EVENTS):
        event = farm.publish(name, HARM if number == EVENTS // 2 else float(number), 2.0)
        if number == EVENTS // 2:
            harmful = event
    until(lambda: farm.unanswered(name) == {harmful}, lambda: f"{name}: {farm.unanswered(name)} left", PATIENCE)

    def letter() -> tuple[str, str, str] | None:
        return next((found for found in world.device.letters() if found[2] == harmful), None)

    found: tuple[str, str, str] = until(letter, f"{name}: a dead letter", PATIENCE)
    assert found[0] == name
    assert found[1] in LETTERS[name]
    return found


def strike_until_quarantined(world: World) -> list[tuple[str, str, str]]:
    """Every other event, each another one, makes the model crash, until the release before takes over; returns the letters."""
    device, farm = world.device, world.farm
    for number in range(2 * EVENTS):
        farm.publish(AGAIN_AND_AGAIN, HARM + number if number % 2 else float(number), 2.0)
    until(lambda: device.release_of(AGAIN_AND_AGAIN) == TRIED, f"{AGAIN_AND_AGAIN}: the release from before answers", PATIENCE)

    def left() -> set[str]:
        return farm.unanswered(AGAIN_AND_AGAIN) - {event for _, _, event in device.letters()}

    until(lambda: not left(), lambda: f"{AGAIN_AND_AGAIN}: {left()} left", PATIENCE)
    letters = [found for found in device.letters() if found[0] == AGAIN_AND_AGAIN]
    assert {event for _, _, event in letters} == farm.unanswered(AGAIN_AND_AGAIN)
    assert {reason for _, reason, _ in letters} == {"poison_input"}
    assert 0 < len(letters) < EVENTS
    update = device.update_of(AGAIN_AND_AGAIN)
    assert (update["state"], update["reason"]) == ("rolled_back", "quarantined")
    return letters


def strike_by_update(world: World, name: str, desired: dict[str, int]) -> str:
    """Have the device try the release that strikes in its trial; returns the details of its refusal."""
    device, farm = world.device, world.farm
    farm.desire(desired)
    update = until(
        lambda: device.update_of(name) if device.update_of(name).get("state") == "rejected" else None,
        lambda: f"{name}: {device.update_of(name)}",
        PATIENCE,
    )
    assert update["reason"] in REFUSALS[name], update
    assert device.release_of(name) == INCUMBENT
    event = farm.publish(name, 1.0, 2.0)
    until(lambda: event in farm.results.get(name, ()), f"{name}: the incumbent answers on", PATIENCE)
    return str(update["detail"])


def came_meanwhile(farm: Farm, start: float, end: float) -> bool:
    """Whether the healthy pipeline gave results between two times for events published after the first."""
    sent, results = farm.sent[HEALTHY], farm.results[HEALTHY]
    return any(start <= at and results[event][0].time <= end for event, at in sent.items())


def report(world: World, lines: list[tuple[str, float, float]]) -> None:
    """Print the healthy pipeline's latencies."""
    sys.stdout.write(f"\n{world.runtime.name}: p99 of the healthy pipeline, in ms, at {len(world.farm.sent[HEALTHY])} events\n")
    for name, start, end in lines:
        quiet = QUIET / RATE
        spans = ((start - quiet, start), (start, end), (end, end + quiet))
        figures = [world.farm.latencies(*span) for span in spans]
        shown = " ".join(f"{1000 * found[int(len(found) * 0.99)]:8.1f}" if found else "       –" for found in figures)
        sys.stdout.write(f"{name:32}{shown}  (before, {end - start:.1f} s while it strikes, after)\n")
