import dataclasses
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.models import Models
from edge_agent.inference.worker_output import BURST
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings, ModelSettings, OnMissing
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason

_spec = importlib.util.spec_from_file_location("inference_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
support = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(support)


def window(*values: float | None) -> ModelInput:
    return ModelInput({"flow": list(values)}, [float(position) for position in range(len(values))])


def wait(loop: Loop, outcomes: list[Any], count: int = 1) -> Any:
    assert loop.run_until(lambda: len(outcomes) >= count, 60), f"{len(outcomes)} of {count}"
    return outcomes[-1]


def activate(loop: Loop, models: Models, bundle: Any, release: int = 1) -> Any:
    outcomes: list[Any] = []
    models.activate(bundle, release, 60, outcomes.append)
    return wait(loop, outcomes)


def test_inputs_wait_for_the_first_model_and_are_answered_in_order(loop: Loop, models: Models, make_bundle: Any) -> None:
    answers: list[Any] = []
    for number in range(20):
        models.submit("leak", window(number, number), answers.append)
    assert models.stats()[0].queue == 20
    bundle = make_bundle()
    reference = activate(loop, models, bundle, 7)
    wait(loop, answers, 20)
    assert [answer.scores for answer in answers] == [(3.0 * number,) for number in range(20)]
    assert isinstance(reference, ModelRef)
    assert reference.digest == bundle.digest
    assert reference.release == 7
    assert reference.provider == "CPUExecutionProvider"
    assert answers[0].model == reference


def test_a_killed_worker_loses_nothing_and_keeps_the_order(loop: Loop, models: Models, make_bundle: Any) -> None:
    activate(loop, models, make_bundle())
    answers: list[Any] = []
    for number in range(400):
        models.submit("leak", window(number, number), answers.append)
    for at in (50, 200):
        wait(loop, answers, at)
        pid = models.stats()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert loop.run_until(lambda old=pid: models.stats()[0].pid not in (None, old), 30)  # type: ignore[misc]
    wait(loop, answers, 400)
    assert [answer.scores[0] for answer in answers] == [3.0 * number for number in range(400)]
    assert models.stats()[0].restarts == 2


def test_a_switch_leaves_no_gap_and_each_answer_names_its_own_model(loop: Loop, models: Models, make_bundle: Any) -> None:
    activate(loop, models, make_bundle(), 1)
    second = make_bundle(
        support.linear_onnx([[20.0, 10.0]], [0.0]),
        [{"window": {"flow": [1, 1]}, "times": [0, 1], "scores": [30]}],
        version="2.0.0",
    )
    answers: list[Any] = []
    outcomes: list[Any] = []
    models.activate(second, 2, 60, outcomes.append)
    sent = 0
    while not outcomes or sent < 50:
        models.submit("leak", window(sent, sent), answers.append)
        sent += 1
        loop.turn(0.002)
        assert sent < 100_000
    models.submit("leak", window(sent, sent), answers.append)
    wait(loop, answers, sent + 1)
    factors = {1: 3.0, 2: 30.0}
    assert [answer.scores[0] for answer in answers] == [factors[answer.model.release] * n for n, answer in enumerate(answers)]
    releases = [answer.model.release for answer in answers]
    assert releases == sorted(releases)
    assert (releases[0], releases[-1]) == (1, 2)


def test_the_worker_that_passed_the_test_is_the_one_that_is_activated(loop: Loop, models: Models, make_bundle: Any) -> None:
    bundle = make_bundle()
    outcomes: list[Any] = []
    models.test(bundle, 1, 60, outcomes.append)
    assert isinstance(wait(loop, outcomes), ModelRef)
    assert models.reference("leak") is None
    models.activate(bundle, 1, 60, outcomes.append)
    wait(loop, outcomes, 2)
    assert models.reference("leak") == outcomes[0]


def test_a_wrong_golden_sample_is_named_and_the_incumbent_stays(loop: Loop, models: Models, make_bundle: Any) -> None:
    incumbent = activate(loop, models, make_bundle())
    bad = make_bundle(support.linear_onnx([[2.0, 2.0]], [0.0]), version="2.0.0")
    failure = activate(loop, models, bad, 2)
    assert failure == Failure(Reason.GOLDEN_MISMATCH, "golden sample 0: score 0 is 10, expected 8 within 0.001")
    assert models.reference("leak") == incumbent
    answers: list[Any] = []
    models.submit("leak", window(1, 1), answers.append)
    assert wait(loop, answers).scores == (3.0,)


def test_a_long_name_in_a_model_file_makes_no_long_refusal(loop: Loop, models: Models, make_bundle: Any) -> None:
    model = onnx.load_from_string(support.linear_onnx([[2.0, 1.0]], [0.0]))
    model.graph.input[0].name = model.graph.node[0].input[0] = "x" * 100_000
    failure = activate(loop, models, make_bundle(model.SerializeToString()))
    assert failure.reason is Reason.TENSOR_MISMATCH
    assert failure.detail.startswith("the file's inputs are ['xxx")
    assert failure.detail.endswith(" characters)")
    assert len(failure.detail) < 1100


def test_a_bundle_changed_on_disk_is_not_loaded(loop: Loop, models: Models, make_bundle: Any) -> None:
    bundle = make_bundle()
    data = bytearray(bundle.path.read_bytes())
    data[bundle.entry.offset + bundle.entry.size - 1] ^= 1
    bundle.path.write_bytes(data)
    assert activate(loop, models, bundle).reason is Reason.HASH_MISMATCH


def test_a_missing_value_costs_its_own_item_alone(loop: Loop, models: Models, make_bundle: Any) -> None:
    activate(loop, models, make_bundle())
    answers: list[Any] = []
    for item in (window(1, 1), window(1, None), window(2, 2)):
        models.submit("leak", item, answers.append)
    wait(loop, answers, 3)
    assert answers[0].scores == (3.0,)
    assert answers[1].reason is Reason.WRONG_SHAPE
    assert "'flow' lacks 1 of 2" in answers[1].detail
    assert answers[2].scores == (6.0,)


def test_a_score_that_is_not_finite_is_a_bad_output_of_its_item_alone(loop: Loop, models: Models, make_bundle: Any) -> None:
    golden = [{"window": {"flow": [3, 3]}, "times": [0, 1], "scores": [3]}]
    activate(loop, models, make_bundle(support.linear_onnx([[2.0, 1.0]], [0.0], sqrt=True), golden))
    answers: list[Any] = []
    for item in (window(3, 3), window(-3, -3)):
        models.submit("leak", item, answers.append)
    wait(loop, answers, 2)
    assert answers[0].scores == (3.0,)
    assert answers[1].reason is Reason.BAD_OUTPUT


WORKER_WITH_A_FLAW = """
import os, sys, types, runpy, time
package = types.ModuleType("edge_agent"); package.__path__ = [sys.argv[1]]; sys.modules["edge_agent"] = package
from edge_agent.inference.worker import feature_feeds
inner = feature_feeds.FeatureFeeds._vector
def flawed(self, window, times, text):
    if float(window["flow"][-1]) == 666: {flaw}
    return inner(self, window, times, text)
feature_feeds.FeatureFeeds._vector = flawed
feature_feeds.WholeWindows = lambda *_: types.SimpleNamespace(usable=False)
sys.argv = sys.argv[1:]
runpy.run_module("edge_agent.inference.worker", run_name="__main__", alter_sys=True)
"""


def flawed_python(folder: Path, flaw: str) -> str:
    """An interpreter whose worker behaves badly on one value: a real process that really dies or hangs."""
    code = folder / "flawed.py"
    code.write_text(WORKER_WITH_A_FLAW.replace("{flaw}", flaw))
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {code} "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("flaw", "deadline", "reason"),
    [("os.abort()", 20.0, Reason.POISON_INPUT), ("time.sleep(3600)", 1.0, Reason.DEADLINE_EXCEEDED)],
    ids=["crash", "hang"],
)
def test_an_input_that_kills_its_worker_twice_fails_alone(
    loop: Loop, tmp_path: Path, make_bundle: Any, flaw: str, deadline: float, reason: Reason
) -> None:
    settings = InferenceSettings(max_batch=8, deadline=deadline, python={"onnx": flawed_python(tmp_path, flaw)})
    models = Models(loop, settings)
    activate(loop, models, make_bundle())
    answers: list[Any] = []
    for value in (1, 2, 666, 4, 5):
        models.submit("leak", window(value, value), answers.append)
    wait(loop, answers, 5)
    assert [answer.scores[0] if isinstance(answer, Answer) else answer.reason for answer in answers] == [3, 6, reason, 12, 15]
    models.stop()


def test_an_endless_loop_is_ended_by_the_runtime_and_the_worker_lives_on(loop: Loop, make_bundle: Any) -> None:
    models = Models(loop, InferenceSettings(max_batch=8, deadline=0.5))
    activate(loop, models, make_bundle(support.endless_onnx()))
    pid = models.stats()[0].pid
    answers: list[Any] = []
    for value in (1, 2, 666, 4, 5):
        models.submit("leak", window(value, value), answers.append)
    wait(loop, answers, 5)
    assert [answer.scores[0] if isinstance(answer, Answer) else answer.reason for answer in answers] == [
        3,
        6,
        Reason.DEADLINE_EXCEEDED,
        12,
        15,
    ]
    assert (models.stats()[0].pid, models.stats()[0].restarts) == (pid, 0)
    models.stop()


def test_a_candidate_that_never_answers_its_golden_samples_is_late(loop: Loop, make_bundle: Any) -> None:
    models = Models(loop, InferenceSettings(deadline=0.5))
    bundle = make_bundle(support.endless_onnx(), golden=[{"window": {"flow": [666, 666]}, "times": [0, 1], "scores": [1998]}])
    assert activate(loop, models, bundle).reason is Reason.DEADLINE_EXCEEDED
    models.stop()


def test_what_a_worker_prints_goes_to_the_log_in_bounds(
    loop: Loop, tmp_path: Path, make_bundle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    models = Models(loop, InferenceSettings(python={"onnx": flawed_python(tmp_path, 'os.write(2, b"x" * 99 + b"\\n" * 9999)')}))
    activate(loop, models, make_bundle())
    answers: list[Any] = []
    models.submit("leak", window(666, 666), answers.append)
    assert wait(loop, answers).scores == (1998.0,)
    assert loop.run_until(lambda: any(record.getMessage() == "a worker says" for record in caplog.records), 30)
    pid = models.stats()[0].pid
    models.stop()
    assert loop.run_until(lambda: not support.alive(pid), 10)
    lines = [record.__dict__["text"] for record in caplog.records if record.getMessage() == "a worker says"]
    assert lines[0] == "x" * 99
    assert len(lines) == BURST
    assert [record.__dict__["lines"] for record in caplog.records if "not shown" in record.getMessage()] == [9999 - BURST]


def test_a_candidate_that_hangs_is_refused_after_its_time(loop: Loop, tmp_path: Path, make_bundle: Any) -> None:
    settings = InferenceSettings(python={"onnx": flawed_python(tmp_path, "time.sleep(3600)")})
    models = Models(loop, settings)
    bundle = make_bundle(golden=[{"window": {"flow": [666, 666]}, "times": [0, 1], "scores": [0]}])
    outcomes: list[Any] = []
    models.test(bundle, 1, 2.0, outcomes.append)
    assert wait(loop, outcomes).reason is Reason.TEST_TIMEOUT
    models.stop()


def test_a_model_larger_than_the_memory_limit_is_refused(loop: Loop, settings: InferenceSettings, make_bundle: Any) -> None:
    models = Models(loop, dataclasses.replace(settings, memory_bytes=64 * 1024**2))
    assert activate(loop, models, make_bundle()).reason in (Reason.LOAD_FAILED, Reason.RUNTIME_MISSING)
    models.stop()


def test_a_restart_on_request_loses_no_input(loop: Loop, models: Models, make_bundle: Any) -> None:
    activate(loop, models, make_bundle())
    answers: list[Any] = []
    for number in range(50):
        models.submit("leak", window(number, number), answers.append)
    wait(loop, answers, 8)
    assert models.restart("leak")
    wait(loop, answers, 50)
    assert [answer.scores[0] for answer in answers] == [3.0 * number for number in range(50)]
    assert not models.restart("unknown")


def test_an_interpreter_that_is_missing_is_a_load_failure(loop: Loop, settings: InferenceSettings, make_bundle: Any) -> None:
    models = Models(loop, dataclasses.replace(settings, python={"onnx": "/nonexistent/python"}))
    failure = activate(loop, models, make_bundle())
    assert failure.reason is Reason.LOAD_FAILED
    assert "/nonexistent/python" in failure.detail


def test_a_stored_bundle_is_loaded_again_at_start(loop: Loop, models: Models, make_bundle: Any, store: Any) -> None:
    bundle = make_bundle()
    assert store.list() == [("leak", bundle.digest)]
    models.resume(store.open("leak", bundle.digest), 4)
    answers: list[Any] = []
    models.submit("leak", window(1, 1), answers.append)
    answer = wait(loop, answers)
    assert answer.scores == (3.0,)
    assert answer.model.release == 4


def test_a_model_that_may_degrade_answers_and_its_reason_is_told_once(loop: Loop, make_bundle: Any) -> None:
    own = ModelSettings(require=("coreml",), on_missing=OnMissing.DEGRADE)
    models = Models(loop, InferenceSettings(models={"leak": own}))
    told: list[tuple[ModelRef, str]] = []
    models.on_degraded = lambda reference, why: told.append((reference, why))
    try:
        reference = activate(loop, models, make_bundle())
        assert reference.provider == "CPUExecutionProvider"
        (stats,) = models.stats()
        assert stats.degraded is not None
        assert stats.degraded.startswith("coreml: ")
        models.restart(reference.name)
        answers: list[Any] = []
        models.submit(reference.name, window(1.0, 2.0), answers.append)
        assert isinstance(wait(loop, answers), Answer)
        assert told == [(reference, stats.degraded)]
    finally:
        models.stop()


def test_a_model_whose_provider_is_missing_is_refused_unless_it_may_degrade(loop: Loop, make_bundle: Any) -> None:
    models = Models(loop, InferenceSettings(models={"leak": ModelSettings(require=("coreml",))}))
    try:
        outcome = activate(loop, models, make_bundle())
        assert isinstance(outcome, Failure)
        assert outcome.reason is Reason.PROVIDER_MISSING
        assert "coreml: " in outcome.detail
    finally:
        models.stop()


def test_a_release_whose_workers_end_over_different_inputs_is_told_once(loop: Loop, tmp_path: Path, make_bundle: Any) -> None:
    python = flawed_python(tmp_path, "os.kill(os.getpid(), 11)")
    models = Models(loop, InferenceSettings(max_batch=1, deadline=20.0, max_crashes=2, python={"onnx": python}))
    told: list[Any] = []
    models.on_quarantined = lambda *quarantined: told.append(quarantined)
    activate(loop, models, make_bundle(), 3)
    answers: list[Any] = []
    models.submit("leak", window(666, 666), answers.append)
    wait(loop, answers)
    for _ in range(2):  # a sensor that repeats its reading
        models.submit("leak", window(1, 1), answers.append)
        models.submit("leak", window(666, 666), answers.append)
    wait(loop, answers, 5)
    assert not told
    assert not models.stats()[0].quarantined
    for number in (1, 2):
        models.submit("leak", window(1, 1), answers.append)
        models.submit("leak", window(number, 666), answers.append)
    wait(loop, answers, 9)
    assert loop.run_until(lambda: bool(told), 20)
    assert [(name, release) for name, release, _ in told] == [("leak", 3)]
    assert "3 different causes" in told[0][2]
    assert models.stats()[0].quarantined
    models.submit("leak", window(1, 1), answers.append)
    assert isinstance(wait(loop, answers, 10), Answer)
    models.stop()


def test_a_swap_that_does_not_fit_unloads_the_incumbent_first_and_loses_nothing(loop: Loop, make_bundle: Any) -> None:
    models = Models(loop, InferenceSettings(max_batch=8, deadline=20.0, memory_budget=1))
    gaps: list[Any] = []
    models.on_gap = lambda *gap: gaps.append(gap)
    activate(loop, models, make_bundle())
    first = models.stats()[0].pid
    assert first is not None
    candidate = make_bundle(version="2.0.0")
    answers: list[Any] = []
    outcomes: list[Any] = []
    for number in range(100):
        models.submit("leak", window(number, number), answers.append)
        if number == 50:
            models.test(candidate, 2, 60, outcomes.append)
            assert models.stats()[0].pid is None
    assert isinstance(wait(loop, outcomes), ModelRef)
    assert not support.alive(first)
    assert not models.shadow("leak", answers.append)
    activate(loop, models, candidate, 2)
    wait(loop, answers, 100)
    assert [answer.scores[0] for answer in answers] == [3.0 * number for number in range(100)]
    assert answers[-1].model.release == 2
    assert [(name, release) for name, release, _ in gaps] == [("leak", 2)]
    assert "no answer for" in gaps[0][2]
    models.stop()


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_incumbent_that_made_room_for_nothing_comes_back(loop: Loop, make_bundle: Any, cancelled: bool) -> None:
    models = Models(loop, InferenceSettings(max_batch=8, deadline=20.0, memory_budget=1))
    gaps: list[Any] = []
    models.on_gap = lambda *gap: gaps.append(gap)
    activate(loop, models, make_bundle())
    answers: list[Any] = []
    outcomes: list[Any] = []
    models.test(make_bundle(golden=[support.GOLDEN[0] | {"scores": [1.0]}], version="2.0.0"), 2, 60, outcomes.append)
    models.submit("leak", window(1, 1), answers.append)
    if cancelled:
        models.cancel_test("leak")
    else:
        assert wait(loop, outcomes).reason is Reason.GOLDEN_MISMATCH
    assert wait(loop, answers).model.release == 1
    assert len(gaps) == 1
    models.stop()


@pytest.mark.parametrize("key", ["memory_bytes", "memory_peak_bytes", "memory_swap_bytes"])
def test_what_a_manifest_says_of_memory_decides_whether_two_releases_fit(loop: Loop, make_bundle: Any, key: str) -> None:
    models = Models(loop, InferenceSettings(max_batch=8, deadline=20.0, memory_budget=1024**3))
    activate(loop, models, make_bundle())
    bundle = make_bundle(version="2.0.0")
    assert models._find_shortage("leak", bundle) is None
    requirements = msgspec.structs.replace(bundle.manifest.requirements, **{key: 2 * 1024**3})
    manifest = msgspec.structs.replace(bundle.manifest, requirements=requirements)
    shortage = models._find_shortage("leak", dataclasses.replace(bundle, manifest=manifest))
    assert shortage is not None
    assert "are needed" in shortage
    models.stop()


def test_an_incumbent_that_waits_for_its_restart_gives_way_too(loop: Loop, make_bundle: Any) -> None:
    models = Models(loop, InferenceSettings(max_batch=8, deadline=20.0, memory_budget=1))
    activate(loop, models, make_bundle())
    first = models.stats()[0].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert loop.run_until(lambda: models.stats()[0].pid is None, 20)
    outcomes: list[Any] = []
    models.test(make_bundle(version="2.0.0"), 2, 60, outcomes.append)
    assert isinstance(wait(loop, outcomes), ModelRef)
    assert models.stats()[0].pid is None
    models.cancel_test("leak")
    answers: list[Any] = []
    models.submit("leak", window(1, 1), answers.append)
    assert wait(loop, answers).model.release == 1
    models.stop()


def test_restarts_come_at_longer_intervals_until_a_batch_succeeds_which_ends_no_quarantine(
    loop: Loop, tmp_path: Path, make_bundle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    python = flawed_python(tmp_path, "os.kill(os.getpid(), 11)")
    models = Models(loop, InferenceSettings(max_batch=1, deadline=20.0, max_crashes=2, python={"onnx": python}))
    activate(loop, models, make_bundle())
    answers: list[Any] = []

    def ask(*values: float) -> list[float]:
        """The seconds that each restart waited for."""
        caplog.clear()
        models.submit("leak", window(*values), answers.append)
        wait(loop, answers, len(answers) + 1)
        return [getattr(record, "retry_s") for record in caplog.records if hasattr(record, "retry_s")]  # noqa: B009

    assert ask(1, 666) == pytest.approx([0.1, 0.2])
    assert ask(1, 1) == []
    assert ask(2, 666) == pytest.approx([0.1, 0.2])
    assert ask(1, 1) == []
    assert ask(3, 666) == pytest.approx([0.1, 0.2])
    assert models.stats()[0].quarantined
    assert ask(1, 1) == []
    assert ask(4, 666) == pytest.approx([0.4, 0.8])
    models.stop()


OUTPUT = '[output_tensor]\nname = "scores"\ndtype = "float32"\nshape = [-1, 1]\n'


@pytest.mark.parametrize(
    ("promise", "reason"),
    [
        ("memory_peak_bytes = 1000000", Reason.MEMORY),
        ('latency_ms = 0.00001\nlatency_device = "a wish"', Reason.LATENCY),
        ('memory_peak_bytes = 2000000000\nlatency_ms = 10000.0\nlatency_device = "a snail"', None),
    ],
)
def test_a_manifest_that_lies_about_memory_or_latency_is_refused_in_the_test_alone(
    loop: Loop, models: Models, make_bundle: Any, promise: str, reason: Reason | None
) -> None:
    bundle = make_bundle(output_tensor=f"{OUTPUT}[requirements]\n{promise}\n")
    outcomes: list[Any] = []
    models.test(bundle, 1, 60, outcomes.append)
    outcome = wait(loop, outcomes)
    assert (outcome.reason if isinstance(outcome, Failure) else None) == reason
    # What was taken on before is not refused for it.
    models.cancel_test("leak")
    assert isinstance(activate(loop, models, bundle), ModelRef)
