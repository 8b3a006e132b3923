"""Whether a release does well enough on live inputs, beside the incumbent. Pure: figures in, a verdict out.

The same rules hold while it shadows and while it is on probation, so what is caught in one would have been caught in the other.
"""

from typing import Final

from edge_agent.update_settings import ProbationSettings, QualityLimits
from edge_agent.updates.ports import Failure
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures

FEWEST: Final = 20
"""Inputs that a share or a quantile is worth something from. Crashes count from the first on."""

INCUMBENTS_DRIFT: Final = 2.0
"""So many times the incumbent's own drift is allowed on top, or the inputs': a season moves the answers of all releases, of
some a little more."""


def find_breach(limits: QualityLimits, evidence: Evidence) -> Failure | None:
    """The first limit that the candidate breaks, or None. What is not known breaks nothing: time decides then."""
    candidate, incumbent = evidence.candidate, evidence.incumbent
    if candidate.crashes > limits.max_crashes:
        return Failure(Reason.WORKER_CRASHED, f"its worker ended {candidate.crashes} times; allowed are {limits.max_crashes}")
    if candidate.inferences < FEWEST:
        return None
    errors = candidate.errors / candidate.inferences
    usual = incumbent.errors / incumbent.inferences if incumbent is not None and incumbent.inferences else 0.0
    if errors > usual + limits.max_error_rate:
        text = f"{errors:.1%} of {candidate.inferences} inputs got no scores"
        return Failure(Reason.ERROR_RATE, f"{text}; allowed are {usual + limits.max_error_rate:.1%}")
    if incumbent is None or incumbent.inferences < FEWEST:
        return None
    breach = _slower(limits, candidate, incumbent) or _unsure(limits, candidate, incumbent)
    return breach or _drifted(limits, candidate, incumbent) or _differing(limits, evidence)


def is_proven(settings: ProbationSettings, inputs: int, seconds: float) -> bool:
    """Whether a probation without a breach is over. A model that is rarely asked is not watched for ever."""
    return (inputs >= settings.inputs and seconds >= settings.time) or seconds >= settings.longest


def _slower(limits: QualityLimits, candidate: Figures, incumbent: Figures) -> Failure | None:
    if candidate.p95_ms is not None and incumbent.p95_ms is not None:
        # A model of microseconds may need three times as long: nobody notices.
        allowed = max(incumbent.p95_ms * limits.max_latency_ratio, incumbent.p95_ms + limits.latency_slack * 1000)
        if candidate.p95_ms > allowed:
            text = f"p95 is {candidate.p95_ms:.3g} ms, the incumbent's was {incumbent.p95_ms:.3g} ms"
            return Failure(Reason.LATENCY, f"{text}; allowed are {allowed:.3g} ms")
    if candidate.memory_bytes is not None and incumbent.memory_bytes is not None:
        room = max(incumbent.memory_bytes * limits.max_memory_ratio, incumbent.memory_bytes + limits.memory_slack)
        if candidate.memory_bytes > room:
            text = f"its worker takes {candidate.memory_bytes / 1e6:.0f} MB"
            return Failure(Reason.MEMORY, f"{text}, the incumbent's took {incumbent.memory_bytes / 1e6:.0f} MB")
    return None


def _unsure(limits: QualityLimits, candidate: Figures, incumbent: Figures) -> Failure | None:
    if candidate.confidence is None or incumbent.confidence is None:
        return None
    allowed = incumbent.confidence * limits.min_confidence_ratio
    if candidate.confidence < allowed:
        text = f"the median confidence is {candidate.confidence:.2f}, the incumbent's was {incumbent.confidence:.2f}"
        return Failure(Reason.CONFIDENCE, f"{text}; {allowed:.2f} is needed")
    return None


def _drifted(limits: QualityLimits, candidate: Figures, incumbent: Figures) -> Failure | None:
    """Answers far from what the maker measured, where the inputs and the incumbent's answers are not."""
    if candidate.drift is None or candidate.inferences < limits.drift_inputs:
        return None
    if (candidate.input_drift or 0.0) > (incumbent.input_drift or 0.0) + limits.max_drift:
        return None  # it is asked other things than the incumbent was
    allowed = limits.max_drift + max(INCUMBENTS_DRIFT * (incumbent.drift or 0.0), candidate.input_drift or 0.0)
    if candidate.drift > allowed:
        text = f"its answers are {candidate.drift:.2f} (PSI) from its baseline"
        usual = "" if incumbent.drift is None else f", the incumbent's {incumbent.drift:.2f} from its own"
        return Failure(Reason.DRIFTED, f"{text}{usual}; allowed are {allowed:.2f}")
    return None


def _differing(limits: QualityLimits, evidence: Evidence) -> Failure | None:
    if evidence.compared < FEWEST:
        return None
    share = evidence.agreed / evidence.compared
    if share < limits.min_agreement:
        text = f"{share:.1%} of {evidence.compared} answers agree with the incumbent's"
        return Failure(Reason.DISAGREEMENT, f"{text}; {limits.min_agreement:.1%} is needed")
    return None
