import pytest

from edge_agent.pipeline.decision import decide
from edge_agent.settings import DecisionSettings
from fleet_contract.manifest import Decision

NONE = DecisionSettings()


def states(scores: list[float], settings: DecisionSettings, recommended: Decision) -> list[tuple[str | None, bool]]:
    is_on = False
    seen = []
    for score in scores:
        outcome, is_on = decide([score], (), settings, recommended, is_on)
        seen.append((outcome.state, outcome.changed))
    return seen


def test_the_state_goes_off_only_below_threshold_minus_hysteresis() -> None:
    recommended = Decision(threshold=0.75, hysteresis=0.25)
    assert states([0.7, 0.75, 0.6, 0.5, 0.49, 0.7], NONE, recommended) == [
        ("off", False),
        ("on", True),
        ("on", False),
        ("on", False),
        ("off", True),
        ("off", False),
    ]


def test_the_pipelines_settings_win_over_the_manifest() -> None:
    settings = DecisionSettings(threshold=0.1, hysteresis=0.0)
    assert states([0.2, 0.05], settings, Decision(threshold=0.9, hysteresis=0.5)) == [("on", True), ("off", True)]


def test_without_a_threshold_there_is_no_state() -> None:
    outcome, _ = decide([0.9], (), NONE, Decision(), False)
    assert (outcome.state, outcome.changed, outcome.score, outcome.scores) == (None, False, 0.9, {"score": 0.9})


@pytest.mark.parametrize(("wanted", "score", "state"), [("frost", 0.4, "on"), ("clear", 0.6, "on"), (None, 0.6, "on")])
def test_the_threshold_looks_at_the_wanted_label_and_the_best_one_is_named(
    wanted: str | None, score: float, state: str
) -> None:
    outcome, _ = decide([0.4, 0.6], ("frost", "clear"), DecisionSettings(label=wanted), Decision(threshold=0.4), False)
    assert (outcome.label, outcome.score, outcome.state) == ("clear", score, state)
    assert outcome.scores == {"frost": 0.4, "clear": 0.6}
