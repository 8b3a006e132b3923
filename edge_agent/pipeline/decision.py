"""From scores to an outcome: label, score, and a state with hysteresis. Pure."""

from collections.abc import Sequence

from edge_agent.settings import DecisionSettings
from fleet_contract.manifest import Decision
from fleet_contract.messages import Outcome

ON, OFF = "on", "off"


def decide(
    scores: Sequence[float], labels: Sequence[str], settings: DecisionSettings, recommended: Decision, was_on: bool
) -> tuple[Outcome, bool]:
    """The outcome of one window and whether the state is on now.

    Args:
        scores: one for each label, or a single one where there are no labels.
        settings: the pipeline's own, where it has any; the rest is as `recommended` by the model's maker.
        was_on: the state before this window; only the first window of a sensor has none, which counts as off.
    """
    wanted = settings.label if settings.label is not None else recommended.label
    threshold = settings.threshold if settings.threshold is not None else recommended.threshold
    hysteresis = settings.hysteresis if settings.hysteresis is not None else recommended.hysteresis
    best = max(range(len(scores)), key=scores.__getitem__)
    position = labels.index(wanted) if wanted in labels else best if wanted is None and labels else 0
    score = scores[position]
    is_on = was_on
    if threshold is not None:
        is_on = score >= threshold if not was_on else score >= threshold - hysteresis
    return (
        Outcome(
            label=labels[best] if labels else None,
            score=score,
            scores=dict(zip(labels, scores, strict=True)) if labels else {"score": score},
            state=None if threshold is None else ON if is_on else OFF,
            changed=threshold is not None and is_on != was_on,
        ),
        is_on,
    )
