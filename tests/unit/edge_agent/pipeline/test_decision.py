from typing import Any

import pytest

from edge_agent.pipeline.alarm import Occasion
from edge_agent.pipeline.decision import NEW, Decided, decide, decide_reading
from edge_agent.settings import DebounceSettings, DecisionSettings
from fleet_contract.manifest import Decision
from fleet_contract.messages import LabelScore, Outcome

NONE = DecisionSettings()
PLAIN = Decision()
LABELS = ("frost", "clear", "fog")


def occasion(time: float | None = 0.0) -> Occasion:
    return Occasion("p", "s", time, None, lambda: "r")


def run(
    settings: DecisionSettings,
    *windows: list[float],
    labels: tuple[str, ...] = (),
    recommended: Decision = PLAIN,
    times: list[float | None] | None = None,
) -> list[Decided]:
    """The windows of one sensor, by default a second of event time apart."""
    state = NEW
    seen = []
    for number, scores in enumerate(windows):
        time = float(number) if times is None else times[number]
        decided, state = decide(scores, labels, settings, recommended, state, occasion(time))
        seen.append(decided)
    return seen


def one(settings: DecisionSettings, scores: list[float], labels: tuple[str, ...], recommended: Decision = PLAIN) -> Outcome:
    return run(settings, scores, labels=labels, recommended=recommended)[0].outcome


def states(scores: list[float], settings: DecisionSettings, recommended: Decision) -> list[tuple[str | None, bool]]:
    decided = run(settings, *[[score] for score in scores], recommended=recommended)
    return [(item.outcome.state, item.outcome.changed) for item in decided]


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
    outcome = one(NONE, [0.9], ())
    assert (outcome.state, outcome.changed, outcome.score, outcome.scores) == (None, False, 0.9, {"score": 0.9})


@pytest.mark.parametrize(("wanted", "score", "state"), [("frost", 0.4, "on"), ("clear", 0.6, "on"), (None, 0.6, "on")])
def test_the_threshold_looks_at_the_wanted_label_and_the_best_one_is_named(
    wanted: str | None, score: float, state: str
) -> None:
    outcome = one(DecisionSettings(label=wanted), [0.4, 0.6], ("frost", "clear"), Decision(threshold=0.4))
    assert (outcome.label, outcome.score, outcome.state) == ("clear", score, state)
    assert outcome.scores == {"frost": 0.4, "clear": 0.6}


def test_labels_get_the_pipelines_names_and_the_scores_keep_the_models() -> None:
    settings = DecisionSettings(labels={"clear": "no frost", "frost": "night frost"}, top_k=2)
    outcome = one(settings, [0.3, 0.6, 0.1], LABELS)
    assert outcome.label == "no frost"
    assert outcome.top == (LabelScore(label="no frost", score=0.6), LabelScore(label="night frost", score=0.3))
    assert outcome.scores == {"frost": 0.3, "clear": 0.6, "fog": 0.1}


def test_top_k_lists_equal_scores_in_the_models_order_and_no_more_than_there_are() -> None:
    outcome = one(DecisionSettings(top_k=9), [0.2, 0.4, 0.4], LABELS)
    assert [item.label for item in outcome.top] == ["clear", "fog", "frost"]
    assert one(DecisionSettings(top_k=9), [0.2], ()).top == ()


def test_too_little_confidence_says_nothing_and_leaves_the_state() -> None:
    settings = DecisionSettings(label="frost", threshold=0.5, abstain_below=0.6)
    decided = run(settings, [0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.3, 0.7, 0.0], labels=LABELS)
    assert [(item.outcome.label, item.outcome.abstained, item.outcome.state) for item in decided] == [
        ("frost", False, "on"),
        (None, True, "on"),
        ("clear", False, "off"),
    ]


def test_the_confidence_of_a_single_score_is_its_distance_from_the_undecided_middle() -> None:
    decided = run(DecisionSettings(threshold=0.5, abstain_below=0.8), [0.9], [0.7], [0.3], [0.1])
    assert [item.outcome.abstained for item in decided] == [False, True, True, False]


def test_a_debounced_state_needs_n_of_the_last_windows_to_switch_either_way() -> None:
    settings = DecisionSettings(threshold=0.5, debounce=DebounceSettings(n=2, of=3))
    decided = run(settings, *[[float(score)] for score in (1, 0, 1, 1, 0, 1, 0, 0, 1)])
    assert [item.outcome.state for item in decided] == ["off", "off", "on", "on", "on", "on", "off", "off", "off"]
    assert [item.outcome.changed for item in decided] == [False, False, True, False, False, False, True, False, False]


def test_hysteresis_looks_at_what_the_last_window_spoke_for_and_not_at_the_debounced_state() -> None:
    settings = DecisionSettings(threshold=0.5, hysteresis=0.2, debounce=DebounceSettings(n=2, of=2))
    assert [item.outcome.state for item in run(settings, [0.6], [0.4])] == ["off", "on"]


def test_an_abstained_window_is_none_of_the_debounced_ones() -> None:
    settings = DecisionSettings(threshold=0.5, abstain_below=0.7, debounce=DebounceSettings(n=2, of=2))
    assert [item.outcome.state for item in run(settings, [0.9], [0.6], [0.9])] == ["off", "off", "on"]


def reading(settings: DecisionSettings, *values: float | None) -> list[Decided]:
    state, seen = NEW, []
    for number, value in enumerate(values):
        decided, state = decide_reading(value, {"t": value}, settings, state, occasion(float(number)))
        seen.append(decided)
    return seen


def test_a_reading_is_decided_on_without_a_model() -> None:
    settings = DecisionSettings(reading="t", below=2.0, hysteresis=0.5)
    decided = reading(settings, 3.0, 2.0, 2.5, 2.6)
    assert [item.outcome.state for item in decided] == ["off", "on", "on", "off"]
    assert [item.outcome.score for item in decided] == [3.0, 2.0, 2.5, 2.6]
    assert decided[0].outcome.values == {"t": 3.0}


def test_a_reading_may_leave_a_band_on_either_side() -> None:
    settings = DecisionSettings(reading="t", below=2.0, above=8.0)
    assert [item.outcome.state for item in reading(settings, 5.0, 8.0, 1.0, 7.9)] == ["off", "on", "on", "off"]


def test_a_window_without_the_reading_leaves_the_state() -> None:
    decided = reading(DecisionSettings(reading="t", above=8.0), 9.0, None, 9.0)
    assert [(item.outcome.state, item.outcome.abstained) for item in decided] == [("on", False), ("on", True), ("on", False)]


def given(settings: DecisionSettings, scores: list[float], times: list[float | None] | None = None) -> list[bool]:
    return [item.given for item in run(settings, *[[score] for score in scores], times=times)]


def test_within_the_deadband_no_result_is_given_out() -> None:
    assert given(DecisionSettings(deadband=0.25), [0.0, 0.25, 0.5, 0.25, 0.0]) == [True, False, True, False, True]


def test_a_deadband_of_zero_gives_out_every_change() -> None:
    assert given(DecisionSettings(deadband=0.0), [0.5, 0.5, 0.6, 0.6]) == [True, False, True, False]


def test_a_changed_label_or_state_is_given_out_within_the_deadband() -> None:
    settings = DecisionSettings(label="frost", threshold=0.5, deadband=1.0)
    decided = run(settings, [0.4, 0.6, 0], [0.45, 0.55, 0], [0.5, 0.5, 0], [0.5, 0.1, 0.6], [0.5, 0.1, 0.6], labels=LABELS)
    assert [item.given for item in decided] == [True, False, True, True, False]


def test_the_heartbeat_gives_a_result_out_after_event_time_has_passed() -> None:
    settings = DecisionSettings(deadband=1.0, heartbeat=10)
    assert given(settings, [0.0] * 5, [0, 9, 10, 19, 20]) == [True, False, True, False, True]


def test_without_times_no_heartbeat_comes_and_no_rate_is_limited() -> None:
    assert given(DecisionSettings(deadband=1.0, heartbeat=10), [0.0] * 2, [None, None]) == [True, False]
    assert given(DecisionSettings(min_interval=10), [0.0] * 2, [None, None]) == [True, True]


def test_the_rate_limit_holds_back_everything_but_a_change_of_state() -> None:
    settings = DecisionSettings(threshold=0.5, min_interval=10)
    assert given(settings, [0.1, 0.2, 0.9, 0.8, 0.7], [0, 9, 9.5, 10, 19.5]) == [True, False, True, False, True]


def test_a_sensor_whose_clock_was_once_years_ahead_is_not_silenced() -> None:
    assert given(DecisionSettings(min_interval=10), [0.1] * 3, [1e9, 0, 5]) == [True, True, False]


def test_scores_that_do_not_fit_the_labels_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        run(NONE, [0.9, 0.2, 0.3, 0.4], labels=LABELS)
    with pytest.raises(IndexError):
        run(NONE, [0.1, 0.2, 0.3, 0.4], labels=LABELS)


def test_a_state_without_anything_to_compare_with_stores_nothing_of_the_results() -> None:
    _, state = decide([0.9], (), DecisionSettings(threshold=0.5), Decision(), NEW, occasion())
    assert (state.given, state.recent, state.alarm) == (None, (), None)


def test_any_settings_are_decided_without_looking_at_a_clock() -> None:
    settings: dict[str, Any] = {"threshold": 0.5, "deadband": 0.1, "min_interval": 5}
    first = run(DecisionSettings(**settings), [0.1], [0.9], [0.2])
    assert first == run(DecisionSettings(**settings), [0.1], [0.9], [0.2])
