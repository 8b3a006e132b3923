"""Whether a model keeps what its manifest promises about memory and latency. Pure: what was measured in, a verdict out."""

import math
from collections.abc import Sequence
from typing import Final

from edge_agent.inference.answers import Failure
from fleet_contract.reasons import Reason
from fleet_contract.requirements import Requirements

MEMORY_TOLERANCE: Final = 1.25
"""Of `memory_peak_bytes`: other versions of the runtime and of the C library take another few megabytes."""
LATENCY_TOLERANCE: Final = 4.0
"""Of `latency_ms`: the device is another one than the maker's, and has other work."""
RUNS: Final = 20
"""Single inferences that the latency is measured over; fewer where they take longer than `MOST_SECONDS` together."""
MOST_SECONDS: Final = 10.0


def enough(seconds: Sequence[float]) -> bool:
    """Whether so many runs will do."""
    return len(seconds) >= RUNS or sum(seconds) >= MOST_SECONDS


def find_broken_promise(needs: Requirements, peak_bytes: int | None, seconds: Sequence[float]) -> Failure | None:
    """The first promise that is not kept, or None. `seconds`: of single inferences; what is not known breaks nothing."""
    if needs.memory_peak_bytes and peak_bytes is not None and peak_bytes > needs.memory_peak_bytes * MEMORY_TOLERANCE:
        promised = f"memory_peak_bytes promises {needs.memory_peak_bytes / 1e6:.0f} MB"
        text = f"its worker took {peak_bytes / 1e6:.0f} MB at peak; {promised}"
        return Failure(Reason.MEMORY, f"{text}, and {MEMORY_TOLERANCE:g} times that is borne")
    if needs.latency_ms is not None and seconds:
        p95 = sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1] * 1000
        if p95 > needs.latency_ms * LATENCY_TOLERANCE:
            promised = f"latency_ms promises {needs.latency_ms:g} ms on {needs.latency_device}"
            text = f"p95 of {len(seconds)} golden inferences is {p95:.3g} ms; {promised}"
            return Failure(Reason.LATENCY, f"{text}, and {LATENCY_TOLERANCE:g} times that is borne")
    return None
