"""Latencies of a run."""

import pytest

from benchmarks.latency import Latencies


def latencies(*seconds: float) -> Latencies:
    taken = Latencies()
    for each in seconds:
        taken.add(each)
    return taken


def test_a_quantile_is_one_of_the_latencies_whatever_order_they_came_in() -> None:
    taken = latencies(4.0, 1.0, 3.0, 2.0)

    assert (taken.quantile(0.5), taken.quantile(0.51), taken.quantile(1.0)) == (2.0, 3.0, 4.0)


def test_the_99th_of_a_hundred_is_exceeded_by_the_slowest_alone() -> None:
    assert latencies(*(float(number) for number in range(1, 101))).quantile(0.99) == 99.0


def test_a_run_without_an_inference_has_no_quantile() -> None:
    with pytest.raises(IndexError):
        latencies().quantile(0.5)
