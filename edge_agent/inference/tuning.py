"""What `edge-agent tune` tries and how it chooses. Pure.

First threads and spinning, at a batch of one, by latency; then the batch, by throughput. More cores or longer batches have to
earn their place: the board has other work to do.
"""

from collections.abc import Sequence
from typing import Final

from edge_agent.inference.measuring import Measured

WORTH: Final = 0.9
"""A plan that takes more of the device must need at most this share of the time of one that takes less."""
BATCHES: Final = (1, 4, 16, 64)


def thread_trials(cores: int) -> list[tuple[int, bool]]:
    """(threads, spin), those first that take less. One thread has nobody to wait for, so it does not spin."""
    counts = sorted({1, 2, cores, max(cores // 2, 1)} & set(range(1, cores + 1)))
    return [(count, spin) for count in counts for spin in (False, True) if count > 1 or not spin]


def batch_trials(limit: int | None) -> list[int]:
    """Batches beyond one; `limit` is the largest that the operator allows."""
    return [size for size in BATCHES if size > 1 and (limit is None or size <= limit)]


def choose_threads(measured: Sequence[Measured]) -> Measured:
    """Of runs at a batch of one, in the order of `thread_trials`: the one whose latency (p95) is worth what it takes."""
    best = measured[0]
    for other in measured[1:]:
        if other.latency_p95 < WORTH * best.latency_p95:
            best = other
    return best


def choose_batch(measured: Sequence[Measured]) -> Measured:
    """Of runs with growing batches: the largest whose throughput is worth it."""
    best = measured[0]
    for other in measured[1:]:
        if other.per_second * WORTH > best.per_second:
            best = other
    return best


def choose_variant(measured: Sequence[Measured]) -> int:
    """The position of the variant whose latency (p95) is least; of two that are as quick, the one that comes first."""
    best = 0
    for position, other in enumerate(measured):
        if other.latency_p95 < WORTH * measured[best].latency_p95:
            best = position
    return best
