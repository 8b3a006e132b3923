import pytest

from edge_agent.inference.promises import RUNS, enough, find_broken_promise
from fleet_contract.reasons import Reason
from fleet_contract.requirements import Requirements

MB = 1_000_000
NEEDS = Requirements(memory_peak_bytes=100 * MB, latency_ms=2.0, latency_device="a Pi")


def reason(needs: Requirements, peak: int | None, seconds: list[float]) -> str | None:
    failure = find_broken_promise(needs, peak, seconds)
    return failure and failure.reason


@pytest.mark.parametrize(
    ("peak", "seconds", "expected"),
    [
        (125 * MB, [0.008] * 20, None),
        (126 * MB, [0.001] * 20, Reason.MEMORY),
        (None, [0.0081] * 20, Reason.LATENCY),
        (None, [0.001] * 19 + [1.0], None),
        (None, [0.001] * 18 + [1.0] * 2, Reason.LATENCY),
        (None, [], None),
    ],
)
def test_what_is_promised_is_held_against_what_was_measured_with_a_tolerance(
    peak: int | None, seconds: list[float], expected: str | None
) -> None:
    assert reason(NEEDS, peak, seconds) == expected


def test_what_is_not_promised_is_not_asked_for() -> None:
    assert reason(Requirements(memory_bytes=1), 900 * MB, [9.0]) is None


def test_the_text_names_the_figures() -> None:
    failure = find_broken_promise(NEEDS, 300 * MB, [])
    assert failure is not None
    assert "300 MB at peak; memory_peak_bytes promises 100 MB" in failure.detail


def test_a_slow_model_is_asked_fewer_times() -> None:
    assert enough([0.001] * RUNS)
    assert not enough([0.001] * (RUNS - 1))
    assert enough([6.0, 6.0])
