"""A real candidate beside a real incumbent: what it sees, what is counted, and that nobody waits for it or hears it."""

import math
import os
import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.models import Models
from edge_agent.inference.quality import Quality, agrees
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.manifest import Decision
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason

MakeBundle = Callable[..., Any]
SUM = [[2.0, 1.0]]
"""Weights of the incumbent, as the golden sample of `make_bundle` expects them."""


def ask(models: Models, loop: Loop, flows: list[float]) -> list[Any]:
    answers: list[Any] = []
    for flow in flows:
        models.submit("leak", ModelInput({"flow": [flow, flow]}, [0.0, 1.0]), answers.append)
    assert loop.run_until(lambda: len(answers) == len(flows), 20)
    return answers


def start(models: Models, loop: Loop, bundle: Any, release: int) -> None:
    told: list[Any] = []
    models.activate(bundle, release, 20.0, told.append)
    assert loop.run_until(lambda: bool(told), 20)
    assert isinstance(told[0], ModelRef), told


def shadow(models: Models, loop: Loop, bundle: Any, on_lost: Callable[[Failure], object] = lambda _failure: None) -> None:
    told: list[Any] = []
    models.test(bundle, 2, 20.0, told.append)
    assert loop.run_until(lambda: bool(told), 20)
    assert isinstance(told[0], ModelRef), told
    assert models.shadow("leak", on_lost)


def golden(weights: list[list[float]]) -> list[dict[str, Any]]:
    return [{"window": {"flow": [1.0, 3.0]}, "times": [0.0, 1.0], "scores": [weights[0][0] * 3 + weights[0][1] * 2]}]


def seen(models: Models) -> Any:
    evidence = models.shadow_evidence("leak")
    assert evidence is not None
    return evidence


def test_a_shadow_sees_every_input_and_only_the_incumbent_is_heard(
    models: Models, loop: Loop, make_bundle: MakeBundle, linear: Callable[..., bytes]
) -> None:
    start(models, loop, make_bundle(), 1)
    other = [[9.0, 1.0]]
    shadow(models, loop, make_bundle(linear(other, [0.0]), golden(other), version="2.0.0"))
    answers = ask(models, loop, [1.0, 2.0, 3.0])
    assert [(answer.model.release, answer.scores[0]) for answer in answers] == [(1, 3.0), (1, 6.0), (1, 9.0)]
    assert loop.run_until(lambda: seen(models).compared == 3, 20)
    evidence = seen(models)
    assert (evidence.agreed, evidence.skipped) == (0, 0)
    assert (evidence.candidate.inferences, evidence.candidate.errors) == (3, 0)
    assert evidence.incumbent.inferences == 3
    assert evidence.candidate.p95_ms > 0
    assert evidence.candidate.memory_bytes > 1_000_000


def test_a_shadow_that_agrees_is_switched_to_warm_and_misses_nothing(
    models: Models, loop: Loop, make_bundle: MakeBundle
) -> None:
    start(models, loop, make_bundle(), 1)
    candidate = make_bundle(version="2.0.0")
    shadow(models, loop, candidate)
    ask(models, loop, [1.0, 2.0])
    assert loop.run_until(lambda: seen(models).agreed == 2, 20)
    pid = models._trials["leak"].pid
    answers: list[Any] = []
    for number in range(200):
        models.submit("leak", ModelInput({"flow": [float(number)] * 2}, [0.0, 1.0]), answers.append)
        if number == 100:
            start(models, loop, candidate, 2)
    assert loop.run_until(lambda: len(answers) == 200, 20)
    assert [answer.scores[0] for answer in answers] == [3.0 * number for number in range(200)]
    assert answers[-1].model.release == 2
    assert models.stats()[0].pid == pid
    assert models.shadow_evidence("leak") is None


def test_errors_of_the_candidate_are_counted_and_those_of_the_incumbent_say_nothing(
    models: Models, loop: Loop, make_bundle: MakeBundle, linear: Callable[..., bytes]
) -> None:
    start(models, loop, make_bundle(), 1)
    root = linear(SUM, [0.0], sqrt=True)
    shadow(models, loop, make_bundle(root, [golden(SUM)[0] | {"scores": [math.sqrt(8)]}], version="2.0.0"))
    answers = ask(models, loop, [4.0, -1.0])
    assert all(isinstance(answer, Answer) for answer in answers)
    refused: list[Any] = []
    models.submit("leak", ModelInput({"flow": []}, []), refused.append)
    assert loop.run_until(lambda: bool(refused) and seen(models).compared == 2, 20)
    assert isinstance(refused[0], Failure)
    evidence = seen(models)
    assert (evidence.candidate.inferences, evidence.candidate.errors, evidence.compared) == (2, 1, 2)


def test_a_shadow_that_is_behind_is_skipped_and_the_incumbent_does_not_wait(loop: Loop, make_bundle: MakeBundle) -> None:
    models = Models(loop, InferenceSettings(max_batch=2, deadline=20.0))
    start(models, loop, make_bundle(), 1)
    shadow(models, loop, make_bundle(version="2.0.0"))
    models._shadows["leak"]._busy = True
    ask(models, loop, [1.0] * 30)
    assert seen(models).skipped == 30 - 8
    models.stop()


def test_a_shadow_whose_worker_is_killed_is_lost_once_and_the_incumbent_answers_on(
    models: Models, loop: Loop, make_bundle: MakeBundle
) -> None:
    start(models, loop, make_bundle(), 1)
    lost: list[Failure] = []
    shadow(models, loop, make_bundle(version="2.0.0"), lost.append)
    pid = models._trials["leak"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert loop.run_until(lambda: bool(lost), 20)
    assert [failure.reason for failure in lost] == [Reason.WORKER_CRASHED]
    assert ask(models, loop, [1.0])[0].model.release == 1
    assert seen(models).candidate.crashes == 1
    assert not models.shadow("leak", lost.append)


def test_a_test_that_is_cancelled_ends_the_shadow(models: Models, loop: Loop, make_bundle: MakeBundle) -> None:
    start(models, loop, make_bundle(), 1)
    shadow(models, loop, make_bundle(version="2.0.0"))
    models.cancel_test("leak")
    assert models.shadow_evidence("leak") is None
    assert ask(models, loop, [1.0])[0].model.release == 1


@pytest.mark.parametrize(
    ("labels", "threshold", "one", "other", "same"),
    [
        (("a", "b"), None, (0.6, 0.4), (0.9, 0.1), True),
        (("a", "b"), None, (0.6, 0.4), (0.4, 0.6), False),
        (("a",), 0.5, (0.6,), (0.99,), True),
        (("a",), 0.5, (0.6,), (0.4,), False),
        ((), None, (10.0,), (10.9,), True),
        ((), None, (10.0,), (12.0,), False),
        ((), None, (0.0,), (0.0,), True),
        ((), None, (1.0,), (1.0, 1.0), False),
    ],
)
def test_releases_agree_by_label_by_side_of_the_threshold_or_by_nearness(
    make_bundle: MakeBundle, labels: Any, threshold: Any, one: Any, other: Any, same: bool
) -> None:
    manifest = msgspec.structs.replace(make_bundle().manifest, labels=labels, decision=Decision(threshold=threshold))
    assert agrees(one, other, manifest) is same


def test_figures_are_of_the_newest_inputs(make_bundle: MakeBundle) -> None:
    quality = Quality(msgspec.structs.replace(make_bundle().manifest, labels=("a",)))
    for _ in range(50):
        quality.add([(0.2,)] * 1000, 1.0)
    for _ in range(40):
        quality.add([(0.9,)] * 1000, 10.0)
    figures = quality.figures()
    assert 20_000 <= figures.inferences <= 40_000
    assert figures.confidence == pytest.approx(0.9, rel=0.02)
    assert figures.p50_ms == pytest.approx(10.0, rel=0.02)


def test_a_candidate_that_is_dropped_in_the_middle_of_a_batch_gives_its_threads_back(
    models: Models, loop: Loop, make_bundle: MakeBundle
) -> None:
    start(models, loop, make_bundle(), 1)
    whole = models._turns._free
    for number in range(2):
        shadow(models, loop, make_bundle(version=f"2.0.{number}"))
        pid = models._trials["leak"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        ask(models, loop, [1.0])
        assert loop.run_until(lambda: models._shadows["leak"]._busy, 20)
        models.cancel_test("leak")
        os.kill(pid, signal.SIGCONT)
        assert models._turns._free == whole


def test_a_candidate_that_is_dropped_while_its_switch_waits_for_a_batch_is_not_switched_to(
    models: Models, loop: Loop, make_bundle: MakeBundle
) -> None:
    start(models, loop, make_bundle(), 1)
    whole = models._turns._free
    candidate = make_bundle(version="2.0.0")
    shadow(models, loop, candidate)
    pid = models._trials["leak"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    ask(models, loop, [1.0])
    assert loop.run_until(lambda: models._shadows["leak"]._busy, 20)
    told: list[Any] = []
    models.activate(candidate, 2, 20.0, told.append)
    models.cancel_test("leak")
    os.kill(pid, signal.SIGCONT)
    assert ask(models, loop, [1.0])[0].model.release == 1
    assert models._turns._free == whole
    assert told == []
