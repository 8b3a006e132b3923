"""Batches of real workers: when they are sent, and in which order those of several models."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_agent.inference.answers import ModelInput
from edge_agent.inference.batching import SEEN, BatchState
from edge_agent.inference.governor_policy import Mode
from edge_agent.inference.host import ModelHost
from edge_agent.inference.input_queue import Lane
from edge_agent.inference.models import Models
from edge_agent.inference.turns import Turns
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings, ModelSettings, QueuePolicy, QueueSettings
from fleet_contract.messages import ModelRef

FOREVER = 3600.0


def window(value: float) -> ModelInput:
    return ModelInput({"flow": [value, value]}, [0.0, 1.0])


def wait(loop: Loop, answers: list[Any], count: int) -> None:
    assert loop.run_until(lambda: len(answers) >= count, 60), f"{len(answers)} of {count}"


def activate(loop: Loop, models: Models, bundle: Any) -> None:
    outcomes: list[Any] = []
    models.activate(bundle, 1, 60, outcomes.append)
    assert loop.run_until(lambda: bool(outcomes), 60)
    assert isinstance(outcomes[0], ModelRef), outcomes


@pytest.fixture
def running(loop: Loop) -> Callable[..., Any]:
    """`with running(settings) as models`: ended after it."""

    @contextmanager
    def run(settings: InferenceSettings) -> Iterator[Models]:
        models = Models(loop, settings)
        try:
            yield models
        finally:
            models.stop()

    return run


def test_a_partial_batch_waits_for_others_until_it_is_full(loop: Loop, running: Any, make_bundle: Any) -> None:
    with running(InferenceSettings(max_batch=4, max_delay=FOREVER)) as models:
        activate(loop, models, make_bundle())
        answers: list[Any] = []
        for number in range(SEEN + 1):  # what one alone costs is measured first
            models.submit("leak", window(number), answers.append)
            wait(loop, answers, number + 1)
        for number in range(3):
            models.submit("leak", window(number), answers.append)
        for _ in range(20):
            loop.turn(0.0)
        assert models.stats()[0].batching is BatchState.DELAYED
        assert models.stats()[0].queue == 3
        models.submit("leak", window(3), answers.append)
        wait(loop, answers, SEEN + 5)
        assert [answer.scores[0] for answer in answers[SEEN + 1 :]] == [0, 3, 6, 9]


def test_a_partial_batch_goes_when_its_oldest_has_waited(loop: Loop, running: Any, make_bundle: Any) -> None:
    with running(InferenceSettings(max_batch=64, max_delay=0.02)) as models:
        activate(loop, models, make_bundle())
        answers: list[Any] = []
        for number in range(SEEN + 4):
            models.submit("leak", window(number), answers.append)
            wait(loop, answers, number + 1)


def test_a_model_whose_file_takes_one_input_is_asked_at_once(loop: Loop, running: Any, make_bundle: Any) -> None:
    tensors = {
        "input_tensor": '[input_tensor]\nname = "features"\ndtype = "float32"\nshape = [1, 2]\n',
        "output_tensor": '[output_tensor]\nname = "scores"\ndtype = "float32"\nshape = [1, 1]\n',
    }
    with running(InferenceSettings(max_batch=64, max_delay=FOREVER)) as models:
        activate(loop, models, make_bundle(**tensors))
        assert (models.stats()[0].batching, models.stats()[0].max_batch) == (BatchState.AT_ONCE, 1)
        answers: list[Any] = []
        for number in range(30):
            models.submit("leak", window(number), answers.append)
        wait(loop, answers, 30)


def test_with_one_thread_the_model_of_higher_priority_goes_first(loop: Loop, make_bundle: Any) -> None:
    settings = InferenceSettings(
        max_batch=1, models={"low": ModelSettings(priority=1), "high": ModelSettings(priority=2, threads=4)}
    )
    turns = Turns(1, clock=lambda: 0.0)
    hosts = {name: ModelHost(loop, name, settings, turns) for name in ("low", "high")}
    for name, host in hosts.items():
        host.resume(make_bundle(name=name), 1)
    assert loop.run_until(lambda: all(host.reference for host in hosts.values()), 60)
    order: list[str] = []
    for _ in range(10):
        for name in ("low", "high"):
            hosts[name].submit(window(1), lambda _answer, name=name: order.append(name))
    wait(loop, order, 20)
    assert order == ["low", *["high"] * 10, *["low"] * 9]
    for host in hosts.values():
        host.stop()


def test_a_worker_that_ends_gives_its_turn_to_the_next_model(loop: Loop, make_bundle: Any) -> None:
    turns = Turns(1)
    hosts = [ModelHost(loop, name, InferenceSettings(), turns) for name in ("a", "b")]
    for host in hosts:
        host.resume(make_bundle(name=host.name), 1)
    assert loop.run_until(lambda: all(host.reference for host in hosts), 60)
    answers: list[Any] = []
    for host in hosts:
        host.submit(window(1), answers.append)
    loop.turn(0.0)
    assert turns.waited == 1
    hosts[0].remove()
    wait(loop, answers, 1)
    assert answers[0].model.name == "b"
    for host in hosts:
        host.stop()


def test_a_full_lane_drops_the_oldest_inputs_of_an_absent_model_and_keeps_the_order(
    loop: Loop, running: Any, make_bundle: Any
) -> None:
    lane = Lane(QueueSettings(policy=QueuePolicy.DROP_OLDEST, max_windows=3))
    with running(InferenceSettings()) as models:
        told: list[Any] = []
        for number in range(10):
            models.submit("leak", window(number), told.append, lane)
        assert told == [lane.outcome] * 7
        activate(loop, models, make_bundle())
        wait(loop, told, 10)
        assert [answer.scores[0] for answer in told[7:]] == [21, 24, 27]


def test_a_batch_is_measured_by_its_worker_and_not_by_a_loop_that_came_late(loop: Loop, make_bundle: Any) -> None:
    now = iter(range(0, 10**9, 1000))
    host = ModelHost(loop, "leak", InferenceSettings(), Turns(1), clock=lambda: next(now))
    host.resume(make_bundle(), 1)
    answers: list[Any] = []
    host.submit(window(1), answers.append)
    wait(loop, answers, 1)
    assert 0 < host.stats().busy_seconds < 1000
    host.stop()


class CountedTurns(Turns):
    """Also says how often a batch was about to start."""

    asked = 0

    def ask(self, name: str, priority: int, threads: int, come: Callable[[], object]) -> bool:
        self.asked += 1
        return super().ask(name, priority, threads, come)


@pytest.mark.parametrize(("mode", "asked"), [(Mode.RUN, 2), (Mode.SLOW, 1), (Mode.PAUSE, 0), (Mode.UNLOAD, 0)])
def test_after_a_batch_a_model_goes_on_or_rests_as_it_may(loop: Loop, make_bundle: Any, mode: Mode, asked: int) -> None:
    time = [0.0]
    turns = CountedTurns(1)
    host = ModelHost(loop, "leak", InferenceSettings(max_batch=1), turns, clock=lambda: time[0])
    host.resume(make_bundle(), 1)
    assert loop.run_until(lambda: host.reference is not None, 60)
    host.restrict(mode, "too hot")
    seen: list[int] = []
    answers: list[Any] = []

    def answered(answer: Any) -> None:
        seen.append(turns.asked)
        answers.append(answer)

    for _ in range(2):
        host.submit(window(1), answered)
    for _ in range(3):
        loop.turn(0.0)
    time[0] = 10.0  # so long ago was it sent
    if asked:
        wait(loop, answers, 1)
        assert seen[0] == asked
    else:
        assert turns.asked == 0
    assert host.stats().mode_detail == "too hot"
    host.restrict(Mode.RUN, None)
    wait(loop, answers, 2)
    host.stop()


def test_a_slowed_model_goes_on_after_its_rest(loop: Loop, running: Any, make_bundle: Any) -> None:
    with running(InferenceSettings(max_batch=1)) as models:
        activate(loop, models, make_bundle())
        models.restrict("leak", Mode.SLOW, "too warm")
        answers: list[Any] = []
        for number in range(5):
            models.submit("leak", window(number), answers.append)
        wait(loop, answers, 5)


def test_dropped_inputs_are_told_right_after_the_answers_that_they_waited_for(loop: Loop, make_bundle: Any) -> None:
    lane = Lane(QueueSettings(policy=QueuePolicy.DROP_OLDEST, max_windows=1))
    host = ModelHost(loop, "leak", InferenceSettings(max_batch=1), Turns(1))
    host.resume(make_bundle(), 1)
    assert loop.run_until(lambda: host.reference is not None, 60)
    told: list[Any] = []
    for number in range(4):
        host.submit(window(number), told.append, lane)
        if not number:
            loop.turn(0.0)  # it is sent
    assert told == []
    wait(loop, told, 4)
    assert told[1:3] == [lane.outcome] * 2
    assert [answer.scores[0] for answer in (told[0], told[3])] == [0, 9]
    host.restrict(Mode.PAUSE, None)
    for number in range(3):
        host.submit(window(number), told.append, lane)
    assert told[4:] == [lane.outcome] * 2, "at once, as the worker has nothing of the lane"
    host.stop()


def test_a_turn_that_a_model_has_no_use_for_any_more_goes_to_the_next(loop: Loop, make_bundle: Any) -> None:
    turns = Turns(1)
    hosts = [ModelHost(loop, name, InferenceSettings(), turns) for name in ("a", "b", "c")]
    for host in hosts:
        host.resume(make_bundle(name=host.name), 1)
    assert loop.run_until(lambda: all(host.reference for host in hosts), 60)
    answers: list[Any] = []
    for host in hosts:
        host.submit(window(1), answers.append)
    loop.turn(0.0)
    assert turns.waited == 2
    hosts[1].restrict(Mode.PAUSE, None)
    wait(loop, answers, 2)
    assert [answer.model.name for answer in answers] == ["a", "c"]
    hosts[1].restrict(Mode.RUN, None)
    wait(loop, answers, 3)
    for host in hosts:
        host.stop()
