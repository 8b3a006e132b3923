"""What is counted of a release's inputs and answers."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from edge_agent.drift.counting import MOST_OF_A_BATCH, MOST_SENT, ONE_TEXT_IN, Counting
from edge_agent.inference.answers import Failure, ModelInput
from fleet_contract.baseline import fingerprint
from fleet_contract.drift import Limits, ModelDrift, merge_counts
from fleet_contract.manifest import InputKind, Manifest, Runtime, Tensor, WindowInput
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Figures
from fleet_controller.drift.baselines import make_baseline

LIMITS = Limits()


def manifest(*, labels: Sequence[str] = (), inputs: Sequence[str] = ("flow",), kind: InputKind = InputKind.WINDOW) -> Manifest:
    return Manifest(
        schema=1,
        name="leak",
        version="1.0.0",
        task="classification",
        runtime=Runtime.ONNX,
        file="model.onnx",
        golden="golden.json",
        kind=kind,
        inputs=tuple(WindowInput(name=name) for name in inputs) if kind is InputKind.WINDOW else (),
        output_tensor=Tensor(name="scores", dtype="float32", shape=(-1, max(len(labels), 1))),
        labels=tuple(labels),
        licence="CC0-1.0",
    )


def flows(seed: int, count: int, mean: float = 10.0) -> list[ModelInput]:
    chance = random.Random(seed)
    return [ModelInput({"flow": [0.0, chance.gauss(mean, 1.0)]}) for _ in range(count)]


def answers(items: Sequence[ModelInput]) -> list[Any]:
    return [(item.values["flow"][-1] / 20,) for item in items]  # type: ignore[operator]


class Asked:
    """A `ModelInput` as the maker's samples have it."""

    def __init__(self, item: ModelInput) -> None:
        self.window, self.text = item.values, item.text


def counting(remembered: int = 1000, *, seed: int = 1) -> Counting:
    items = flows(seed, 1000)
    return Counting(manifest(), make_baseline(manifest(), [Asked(item) for item in items], answers(items)), remembered)


def add(made: Counting, items: Sequence[ModelInput], results: Sequence[Any] | None = None) -> None:
    for item, result in zip(items, results or answers(items), strict=True):
        made.add([item], [result])


def report(made: Counting, fewest: int = 100) -> ModelDrift:
    return made.report(LIMITS, fewest)


def test_live_inputs_of_the_same_kind_are_near_the_baseline_and_others_are_not() -> None:
    same, moved = counting(), counting()
    add(same, flows(2, 900))
    add(moved, flows(2, 900, mean=12.0))
    assert not any(item.drifted for item in report(same).worst)
    drifted = {item.name: item for item in report(moved).worst if item.drifted}
    assert drifted.keys() == {"input.flow", "output.score"}
    assert drifted["input.flow"].psi > 1.0  # type: ignore[operator]
    assert drifted["input.flow"].ks > 0.5  # type: ignore[operator]


def test_too_few_inputs_are_told_but_not_judged() -> None:
    made = counting()
    add(made, flows(2, 99, mean=99.0))
    first = report(made)
    assert (first.judged, first.inputs) == (False, 99)
    assert not any(item.drifted for item in first.worst)
    add(made, flows(3, 1, mean=99.0))
    assert report(made).judged
    assert any(item.drifted for item in report(made).worst)


def test_the_counts_of_the_intervals_add_up_to_the_whole() -> None:
    made = counting(remembered=50)
    whole = (0,) * len(report(made).numbers.get("input.flow", (0,) * 13))
    for seed in range(5):
        add(made, flows(seed, 40))
        whole = merge_counts(whole, report(made).numbers["input.flow"])
    assert sum(whole) == 200
    last = report(made)
    assert last.total == 200
    assert last.numbers == {}


def test_figures_are_of_the_newest_inputs_only() -> None:
    made = counting(remembered=100)
    add(made, flows(2, 300, mean=20.0))
    assert any(item.drifted for item in report(made).worst)
    add(made, flows(3, 200))
    after = report(made)
    assert (after.inputs, after.total) == (100, 500)
    assert not any(item.drifted for item in after.worst)


def test_missing_values_nan_and_inputs_that_are_not_there_are_missing() -> None:
    made = counting()
    made.add([ModelInput({"flow": [1.0, None]}), ModelInput({"flow": [float("nan")]}), ModelInput({})], [(0.5,)] * 3)
    assert report(made).numbers["input.flow"][-1] == 3


def test_a_report_names_its_baseline_so_that_only_counts_of_the_same_bins_are_added_up() -> None:
    items = flows(1, 1000)
    same = make_baseline(manifest(), [Asked(item) for item in items], answers(items))
    assert report(counting(seed=1)).bins == fingerprint(same)
    assert report(counting(seed=2)).bins != fingerprint(same)
    assert report(Counting(manifest(), None)).bins is None


def test_an_input_without_scores_counts_as_input_alone() -> None:
    made = counting()
    made.add(flows(2, 1), [Failure(Reason.BAD_OUTPUT, "NaN")])
    assert report(made).numbers.keys() == {"input.flow"}


def test_of_a_large_batch_a_part_is_looked_at_and_every_place_in_turn() -> None:
    made = counting(remembered=10_000)
    batch = [ModelInput({"flow": [float(place)]}) for place in range(64)]
    made.add(batch, answers(batch))
    assert report(made).inputs == MOST_OF_A_BATCH
    for _ in range(3):
        made.add(batch, answers(batch))
    one_by_one = counting(remembered=10_000)
    add(one_by_one, batch)
    # Four batches looked at in a quarter each: every place once.
    assert made.clear_drift() == one_by_one.clear_drift()


def test_shares_of_labels_and_confidence_are_told_without_a_baseline_too() -> None:
    made = Counting(manifest(labels=("normal", "leak")), None)
    made.add(flows(2, 4), [(0.9, 0.1), (0.8, 0.2), (0.95, 0.05), (0.25, 0.75)])
    told = report(made, 1)
    assert told.labels == {"normal": 0.75, "leak": 0.25}
    assert told.confidence == pytest.approx(0.75)
    assert told.categories == {"output.label": {"normal": 3, "leak": 1}}
    assert (told.judged, told.worst) == (False, ())
    assert made.add_to(Figures()).drift is None


def test_labels_that_turn_round_have_drifted() -> None:
    known = manifest(labels=("normal", "leak"))
    items = flows(1, 400)
    baseline = make_baseline(known, [Asked(item) for item in items], [(0.9, 0.1)] * 360 + [(0.2, 0.8)] * 40)
    made = Counting(known, baseline)
    add(made, flows(2, 200), [(0.9, 0.1)] * 60 + [(0.2, 0.8)] * 140)
    assert {item.name for item in report(made).worst if item.drifted} == {"output.label", "output.confidence"}
    figures = made.add_to(Figures())
    assert figures.drift is not None
    assert figures.drift > 1.0
    assert figures.input_drift == 0.0


def test_texts_of_another_script_and_with_other_words_have_drifted() -> None:
    known = manifest(labels=("a", "b"), kind=InputKind.TEXT)
    texts = [ModelInput(text=f"the pump of field {word} leaks") for word in "abcdefghij" for _ in range(20)]
    baseline = make_baseline(known, [Asked(item) for item in texts], [(0.9, 0.1)] * len(texts))
    made, other = Counting(known, baseline), Counting(known, baseline)
    add(made, texts, [(0.9, 0.1)] * len(texts))
    add(other, [ModelInput(text="آفت روی برگ‌ها")] * 400, [(0.9, 0.1)] * 400)
    assert not any(item.drifted for item in report(made).worst)
    told = report(other)
    assert {item.name for item in told.worst if item.drifted} >= {"text.script", "text.unknown"}
    assert told.categories["text.script"] == {"other": 400 // ONE_TEXT_IN}


def test_what_has_drifted_is_over_only_well_below_its_limit() -> None:
    made = counting()
    add(made, [ModelInput({"flow": [None]})] * 9 + flows(2, 91), [(0.5,)] * 100)
    assert not any(item.drifted for item in made.report(LIMITS, 100).worst if item.name == "input.flow")
    known = {item.name for item in made.report(LIMITS, 100, {"input.flow"}).worst if item.drifted}
    assert "input.flow" in known


def test_a_model_of_many_inputs_stays_small_in_health() -> None:
    names = [f"reading_number_{number}" for number in range(40)]
    chance = random.Random(1)
    items = [ModelInput({name: [chance.gauss(0.0, 1.0)] for name in names}) for _ in range(600)]
    known = manifest(inputs=names)
    made = Counting(known, make_baseline(known, [Asked(item) for item in items], [(chance.random(),) for _ in items]))
    for item in items:
        made.add([item], [(0.5,)])
    told = report(made)
    assert len(told.numbers) == MOST_SENT
    assert next(iter(told.numbers)) == "output.score"
    assert len(msgspec.json.encode(told)) < 4096
