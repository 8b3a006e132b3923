"""What breaks a limit beside the incumbent, and what does not."""

from typing import Any

import pytest

from edge_agent.update_settings import ProbationSettings, QualityLimits
from edge_agent.updates.judging import find_breach, is_proven
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures

MB = 10**6


def figures(**changes: Any) -> Figures:
    usual: dict[str, Any] = {"inferences": 100, "p95_ms": 20.0, "confidence": 0.9, "memory_bytes": 60 * MB}
    return Figures(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"crashes": 1}, Reason.WORKER_CRASHED),
        ({"crashes": 1, "inferences": 0}, Reason.WORKER_CRASHED),
        ({"errors": 3}, Reason.ERROR_RATE),
        ({"p95_ms": 41.0}, Reason.LATENCY),
        ({"memory_bytes": 200 * MB}, Reason.MEMORY),
        ({"confidence": 0.5}, Reason.CONFIDENCE),
        ({}, None),
        ({"errors": 2}, None),
        ({"p95_ms": 39.0}, None),
        ({"memory_bytes": 110 * MB}, None),
        ({"confidence": 0.55}, None),
        ({"confidence": None, "p95_ms": None, "memory_bytes": None}, None),
        ({"inferences": 19, "errors": 19, "p95_ms": 999.0, "confidence": 0.0}, None),
    ],
    ids=str,
)
def test_each_limit_is_beside_the_incumbent_and_needs_enough_inputs(changes: dict[str, Any], reason: Reason | None) -> None:
    breach = find_breach(QualityLimits(), Evidence(candidate=figures(**changes), incumbent=figures()))
    assert (breach.reason if breach is not None else None) == reason


def test_a_model_of_microseconds_may_need_three_times_as_long() -> None:
    evidence = Evidence(candidate=figures(p95_ms=0.6), incumbent=figures(p95_ms=0.2))
    assert find_breach(QualityLimits(), evidence) is None
    assert find_breach(QualityLimits(latency_slack=0.0), evidence) is not None


def test_an_incumbent_that_has_errors_itself_is_no_better() -> None:
    limits = QualityLimits()
    assert find_breach(limits, Evidence(candidate=figures(errors=30), incumbent=figures(errors=29))) is None
    assert find_breach(limits, Evidence(candidate=figures(errors=32), incumbent=figures(errors=29))) is not None


def test_without_an_incumbent_only_errors_and_crashes_count() -> None:
    assert find_breach(QualityLimits(), Evidence(candidate=figures(p95_ms=9e9, confidence=0.0))) is None
    assert find_breach(QualityLimits(), Evidence(candidate=figures(errors=50))) is not None


def test_disagreement_is_a_breach_only_where_the_operator_asks_for_it() -> None:
    evidence = Evidence(candidate=figures(), incumbent=figures(), compared=100, agreed=40)
    assert find_breach(QualityLimits(), evidence) is None
    breach = find_breach(QualityLimits(min_agreement=0.5), evidence)
    assert breach is not None
    assert breach.reason is Reason.DISAGREEMENT


@pytest.mark.parametrize(
    ("inputs", "seconds", "proven"),
    [(100, 599, False), (99, 600, False), (100, 600, True), (0, 86399, False), (0, 86400, True)],
)
def test_a_probation_ends_with_enough_inputs_and_time_or_when_it_has_lasted_longest(
    inputs: int, seconds: float, proven: bool
) -> None:
    assert is_proven(ProbationSettings(), inputs, seconds) is proven


@pytest.mark.parametrize(
    ("candidate", "incumbent", "drifted"),
    [
        ({"drift": 1.1, "input_drift": 0.0}, {"drift": 0.0, "input_drift": 0.0}, True),
        ({"drift": 0.9, "input_drift": 0.0}, {"drift": 0.0, "input_drift": 0.0}, False),
        # the incumbent's answers have moved as well
        ({"drift": 2.1, "input_drift": 0.0}, {"drift": 0.6, "input_drift": 0.0}, False),
        ({"drift": 2.3, "input_drift": 0.0}, {"drift": 0.6, "input_drift": 0.0}, True),
        # the inputs have moved, for both
        ({"drift": 1.9, "input_drift": 1.0}, {"drift": 0.0, "input_drift": 1.0}, False),
        ({"drift": 2.1, "input_drift": 1.0}, {"drift": 0.0, "input_drift": 1.0}, True),
        # it is asked other things than the incumbent was
        ({"drift": 9.0, "input_drift": 1.1}, {"drift": 0.0, "input_drift": 0.0}, False),
        # an incumbent without a baseline
        ({"drift": 1.1, "input_drift": 0.0}, {}, True),
        ({"drift": 9.0, "input_drift": 1.1}, {}, False),
        # a candidate without one
        ({}, {"drift": 0.0, "input_drift": 0.0}, False),
        ({"drift": 9.0, "input_drift": 0.0, "inferences": 99}, {"drift": 0.0, "input_drift": 0.0}, False),
    ],
)
def test_answers_far_from_the_baseline_are_a_breach_unless_the_inputs_are_the_reason(
    candidate: dict[str, Any], incumbent: dict[str, Any], drifted: bool
) -> None:
    breach = find_breach(QualityLimits(), Evidence(candidate=figures(**candidate), incumbent=figures(**incumbent)))
    assert (breach is not None) == drifted
    if breach is not None:
        assert breach.reason is Reason.DRIFTED
