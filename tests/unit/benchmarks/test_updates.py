from benchmarks.swap import Scored
from benchmarks.updates import CHANGED, count_late, make_weights


def test_late_are_those_sent_in_the_time_whose_results_took_longer_than_the_limit() -> None:
    results = [Scored(number, sent, sent + late, 1) for number, (sent, late) in enumerate([(1, 9), (2, 9), (2.5, 0.5), (3, 9)])]
    assert count_late(results, 2, 3, 1000.0) == 1
    assert count_late(results, 0, 9, 499.0) == 4


def test_a_small_release_changes_one_weight_in_a_hundred_and_a_tuned_one_each() -> None:
    old, changed, tuned = (make_weights(7, 1, kind) for kind in ("old", "changed", "tuned"))
    assert old.shape == (62_500, 4)
    assert (old != changed).sum() / old.size == CHANGED
    assert (old != tuned).mean() > 0.99
