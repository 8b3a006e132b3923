from typing import Any

import pytest

from fleet_contract.feedback import Said, Tally, Truth, error_of, find_contradictions, find_fault, is_right, judge, said, wilson
from fleet_contract.messages import Outcome
from fleet_contract.reasons import Reason

FROST = Outcome(label="frost", score=0.9, scores={"frost": 0.9, "mild": 0.1})
RENAMED = Outcome(label="Frost tonight", score=0.9, scores={"1": 0.9, "0": 0.1})
UNSURE = Outcome(score=0.55, scores={"frost": 0.55, "mild": 0.45}, abstained=True)
VALUE = Outcome(score=4.5, scores={"score": 4.5})


def truth(label: str | None = None, value: float | None = None, result_id: str = "r", **more: Any) -> Truth:
    return Truth(result_id=result_id, label=label, value=value, **more)


def test_an_answer_is_right_under_the_pipelines_name_and_under_the_models() -> None:
    assert is_right(said(FROST), truth("frost"))
    assert not is_right(said(FROST), truth("mild"))
    assert is_right(said(RENAMED), truth("Frost tonight"))
    assert is_right(said(RENAMED), truth("1"))
    assert not is_right(said(RENAMED), truth("0"))


def test_an_abstention_is_not_right_even_where_the_best_label_is() -> None:
    assert not is_right(said(UNSURE), truth("frost"))


@pytest.mark.parametrize("name", ["frost", "Frost tonight"])
def test_a_model_with_one_label_says_none_below_its_threshold(name: str) -> None:
    off = said(Outcome(label=name, score=0.1, scores={"frost": 0.1}, state="off"))
    on = said(Outcome(label=name, score=0.9, scores={"frost": 0.9}, state="on"))
    assert is_right(off, truth("none"))
    assert not is_right(off, truth(name))
    assert is_right(on, truth(name))
    assert not is_right(on, truth("none"))
    assert judge(truth("none"), on) is None
    assert judge(truth("none"), said(FROST)) is not None
    unsure = said(Outcome(score=0.5, scores={"frost": 0.5}, abstained=True, state="off"))
    assert not is_right(unsure, truth("none"))
    assert judge(truth("none"), unsure) is None


def test_a_value_has_an_error_and_a_label_has_none() -> None:
    assert error_of(said(VALUE), truth(value=6.0)) == 1.5
    assert error_of(said(FROST), truth("frost")) is None


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (truth(), "exactly one"),
        (truth("frost", 1.0), "exactly one"),
        (truth(value=float("nan")), "finite"),
        (truth("frost", result_id=""), "result_id"),
        (truth("x" * 129), "label"),
        (truth("fro\nst"), "label"),
        (truth("frost", source="\x00"), "source"),
    ],
)
def test_what_is_of_the_wrong_form_is_named(wrong: Truth, names: str) -> None:
    fault = find_fault(wrong)
    assert names in (fault or "")
    assert judge(wrong, said(FROST)) == (Reason.BAD_FEEDBACK, fault)


def test_a_label_that_the_model_does_not_have_is_refused_unless_the_pipeline_renames_them() -> None:
    assert judge(truth("forst"), said(FROST)) == (Reason.BAD_FEEDBACK, "label 'forst' is none of frost, mild")
    assert judge(truth("No frost"), said(RENAMED)) is None


def test_a_value_for_labels_a_label_for_values_and_an_unknown_result_are_refused() -> None:
    assert (judge(truth(value=1.0), said(FROST)) or ())[0] is Reason.BAD_FEEDBACK
    assert (judge(truth("frost"), said(VALUE)) or ())[0] is Reason.BAD_FEEDBACK
    assert (judge(truth("frost"), None) or ())[0] is Reason.UNKNOWN_RESULT
    assert judge(truth(value=4.0), said(VALUE)) is None


def test_only_different_truths_of_one_result_contradict_each_other() -> None:
    batch = [truth("a", result_id="1"), truth("a", result_id="1"), truth("a", result_id="2"), truth("b", result_id="2")]
    assert find_contradictions(batch) == {"2"}


def test_a_tally_counts_answers_by_what_was_right() -> None:
    tally = Tally()
    for answer, right in ((FROST, "frost"), (FROST, "mild"), (UNSURE, "mild"), (FROST, "frost")):
        tally.add(said(answer), truth(right))
    assert (tally.labelled, tally.right, tally.accuracy) == (4, 2, 0.5)
    assert tally.table() == {"frost": {"frost": 2}, "mild": {"abstained": 1, "frost": 1}}
    values = Tally()
    values.add(said(VALUE), truth(value=5.0))
    values.add(said(VALUE), truth(value=3.0))
    assert (values.accuracy, values.mean_error) == (None, 1.0)


def test_wilsons_interval_is_that_of_the_textbook_and_stays_within_0_and_1() -> None:
    low, high = wilson(8, 10) or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert (wilson(0, 5) or (1, 1))[0] == 0.0
    assert (wilson(5, 5) or (0, 0))[1] == 1.0
    assert wilson(0, 0) is None


def test_a_model_with_one_label_has_a_label_and_no_value() -> None:
    assert said(Outcome(label="leak", score=0.3, scores={"leak": 0.3})) == Said(
        label="leak", best="leak", value=None, known=frozenset({"leak", "none"})
    )
