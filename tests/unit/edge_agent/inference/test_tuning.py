"""What is tried, and that more cores or longer batches have to earn their place."""

from edge_agent.inference.measuring import Measured
from edge_agent.inference.tuning import batch_trials, choose_batch, choose_threads, choose_variant, thread_trials


def run(*, p95: float = 1.0, per_second: float = 100.0, threads: int = 1, batch: int = 1) -> Measured:
    return Measured(
        threads=threads,
        spin=False,
        batch=batch,
        inferences=int(per_second * 10),
        errors=0,
        seconds=10.0,
        latency_p50=p95 / 2,
        latency_p95=p95,
        latency_p99=p95 * 2,
        cpu_seconds=5.0,
        memory_bytes=None,
        joules=None,
        provider="CPU",
        load_seconds=0.1,
    )


def test_one_thread_does_not_spin_and_no_more_threads_are_tried_than_there_are_cores() -> None:
    assert thread_trials(1) == [(1, False)]
    assert thread_trials(2) == [(1, False), (2, False), (2, True)]
    assert [count for count, spin in thread_trials(8) if not spin] == [1, 2, 4, 8]


def test_batches_stay_within_the_operators_bound() -> None:
    assert batch_trials(None) == [4, 16, 64]
    assert batch_trials(16) == [4, 16]
    assert batch_trials(1) == []


def test_a_second_thread_has_to_save_a_tenth_of_the_time() -> None:
    assert choose_threads([run(p95=1.0), run(p95=0.92, threads=2)]).threads == 1
    assert choose_threads([run(p95=1.0), run(p95=0.85, threads=2), run(p95=0.8, threads=4)]).threads == 2


def test_the_largest_batch_that_is_worth_it_is_taken() -> None:
    tried = [run(per_second=100), run(per_second=300, batch=4), run(per_second=310, batch=16), run(per_second=200, batch=64)]
    assert choose_batch(tried).batch == 4
    assert choose_batch([run(per_second=100), run(per_second=105, batch=4)]).batch == 1


def test_of_variants_that_are_as_quick_the_first_one_is_taken() -> None:
    assert choose_variant([run(p95=1.0), run(p95=0.95), run(p95=0.5)]) == 2
    assert choose_variant([run(p95=1.0), run(p95=0.95)]) == 0
