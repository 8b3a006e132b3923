"""Sketches and figures of drift, against figures worked out by hand and against scipy's."""

import math
import random

import pytest
from scipy.stats import chi2, ks_2samp

from fleet_contract.baseline import MOST_CATEGORIES, CategoryBaseline, NumberBaseline
from fleet_contract.drift import (
    Limits,
    clear_psi,
    count_numbers,
    judge_numbers,
    judge_words,
    ks,
    ks_limit,
    make_category_baseline,
    make_number_baseline,
    median_bound,
    merge_counts,
    merge_words,
    psi,
    psi_by_chance,
    worst_first,
)

LIMITS = Limits()


def made(values: list[float | None], **options: float) -> NumberBaseline:
    baseline = make_number_baseline(values, **options)  # type: ignore[arg-type]
    assert baseline is not None
    return baseline


def gauss(seed: int, count: int, mean: float = 0.0, width: float = 1.0) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(mean, width) for _ in range(count)]


def test_psi_is_the_sum_that_the_definition_says() -> None:
    by_hand = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert psi([50, 50], [25, 75]) == pytest.approx(by_hand)
    assert psi([50, 50], [500, 500]) == 0.0


def test_a_bin_that_is_empty_on_one_side_counts_as_half_an_input() -> None:
    by_hand = (0.1 - 0.5 / 100) * math.log(0.1 / (0.5 / 100)) + (0.9 - 1.0) * math.log(0.9 / 1.0)
    assert psi([0, 100, 0], [10, 90, 0]) == pytest.approx(by_hand)


def test_nothing_counted_is_no_figure() -> None:
    assert psi([1, 2], [0, 0]) is None
    assert ks([0, 0], [1, 2]) is None
    assert clear_psi([0, 0], [1, 1]) is None
    assert psi_by_chance([1, 2], [0, 0]) == 0.0


def test_what_psi_reaches_by_chance_is_a_scaled_chi_squared() -> None:
    expected, actual = [100] * 10, [50] * 10
    assert psi_by_chance(expected, actual) == pytest.approx((1 / 1000 + 1 / 500) * chi2.ppf(0.999, 9), rel=0.01)


def test_samples_of_one_distribution_stay_below_what_chance_gives() -> None:
    baseline = made(gauss(0, 1000))
    clear = [clear_psi(baseline.counts[:-1], count_numbers(gauss(seed, 100), baseline)[:-1]) for seed in range(1, 201)]
    assert sum(value != 0.0 for value in clear) <= 2


def test_binned_ks_is_scipys_for_values_that_lie_on_the_bounds_and_never_above_it() -> None:
    one, other = [float(value % 7) for value in range(700)], [float(value % 5) for value in range(300)]
    baseline = made(one, bins=20)  # type: ignore[arg-type]
    exact = ks_2samp(one, other).statistic
    assert ks(baseline.counts[:-1], count_numbers(other, baseline)[:-1]) == pytest.approx(exact)
    for seed in range(20):
        live = gauss(seed, 200, mean=0.4, width=1.3)
        before = gauss(1000 + seed, 400)
        rough = made(before)
        distance = ks(rough.counts[:-1], count_numbers(live, rough)[:-1])
        assert distance is not None
        assert distance <= ks_2samp(before, live).statistic + 1e-12


def test_the_ks_limit_is_that_of_the_tables() -> None:
    assert ks_limit(1000, 1000, alpha=0.05) == pytest.approx(1.358 * math.sqrt(2000 / 1e6), rel=1e-3)


def test_bins_hold_about_as_many_each_and_bounds_belong_to_the_bin_below() -> None:
    baseline = made([float(value) for value in range(100)])
    assert (baseline.low, baseline.high) == (0.0, 99.0)
    assert sum(baseline.counts) == 100
    assert baseline.counts[0] == baseline.counts[-2] == baseline.counts[-1] == 0
    assert max(baseline.counts) <= 12
    assert count_numbers([-0.1, 0.0, baseline.cuts[0], 99.0, 99.1, None, math.nan], baseline) == (
        1,
        2,
        *[0] * (len(baseline.cuts) - 1),
        1,
        1,
        2,
    )


def test_a_value_that_is_as_frequent_as_a_bin_has_one_of_its_own() -> None:
    baseline = made([0.0] * 60 + [float(value) for value in range(1, 41)])
    assert baseline.counts[1] == 60
    assert made([5.0] * 40).counts == (0, 40, 0, 0)


def test_a_makers_range_says_what_is_out_of_range() -> None:
    baseline = made(gauss(1, 500, mean=20.0), low=-40.0, high=60.0)
    assert judge_numbers("input.t", baseline, count_numbers([-50.0, 20.0, 25.0, 61.0], baseline), LIMITS).out_of_range == 0.5


def test_the_same_distribution_has_not_drifted_and_a_shifted_one_has() -> None:
    baseline = made(gauss(1, 1000))
    same = judge_numbers("input.t", baseline, count_numbers(gauss(2, 1000), baseline), LIMITS)
    moved = judge_numbers("input.t", baseline, count_numbers(gauss(3, 1000, mean=1.0), baseline), LIMITS)
    assert not same.drifted
    assert moved.drifted
    assert same.psi is not None
    assert same.psi < 0.1
    assert moved.psi is not None
    assert moved.psi > 0.25
    assert not judge_numbers("input.t", baseline, count_numbers(gauss(3, 1000, mean=1.0), baseline), Limits(psi=9.0)).drifted


def test_missing_values_are_a_drift_of_their_own() -> None:
    baseline = made([*gauss(1, 900), *[None] * 100])
    few = judge_numbers("input.t", baseline, count_numbers([*gauss(2, 850), *[None] * 150], baseline), LIMITS)
    many = judge_numbers("input.t", baseline, count_numbers([*gauss(2, 750), *[None] * 250], baseline), LIMITS)
    assert (few.missing, few.drifted) == (0.15, False)
    assert (many.missing, many.drifted) == (0.25, True)


def test_words_have_a_bound_and_what_is_beyond_it_is_other() -> None:
    baseline = make_category_baseline([f"w{number}" for number in range(MOST_CATEGORIES + 3)])
    assert (len(baseline.counts), baseline.other) == (MOST_CATEGORIES, 3)


def test_label_shares_that_turn_round_have_drifted_and_so_have_unheard_of_words() -> None:
    baseline = CategoryBaseline(counts={"a": 800, "b": 200})
    assert not judge_words("output.label", baseline, {"a": 400, "b": 100}, LIMITS).drifted
    assert judge_words("output.label", baseline, {"a": 100, "b": 400}, LIMITS).drifted
    strange = judge_words("text.script", baseline, {"a": 400, "b": 100, "c": 100}, LIMITS)
    assert strange.drifted
    assert strange.out_of_range == pytest.approx(1 / 6, abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_associative_and_commutative_and_as_counting_all_at_once(seed: int) -> None:
    baseline = made(gauss(1, 500))
    parts = [gauss(10 * seed + part, 5 + seed, mean=part) for part in range(3)]
    a, b, c = (count_numbers(part, baseline) for part in parts)
    whole = count_numbers([value for part in parts for value in part], baseline)
    assert merge_counts(merge_counts(a, b), c) == merge_counts(a, merge_counts(b, c)) == whole
    assert merge_counts(merge_counts(c, a), b) == whole
    x, y, z = ({"u": seed, "v": 1}, {"v": 2}, {"w": 3, "u": 1})
    assert merge_words(merge_words(x, y), z) == merge_words(x, merge_words(y, z)) == {"u": seed + 1, "v": 3, "w": 3}


def test_sketches_of_other_bins_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match="shorter"):
        merge_counts((1, 2, 3), (1, 2))


def test_the_median_is_right_to_within_its_bin() -> None:
    baseline = made(gauss(1, 2000))
    counts = count_numbers(gauss(2, 2000, mean=0.5), baseline)
    middle = median_bound(baseline, counts)
    assert middle is not None
    assert abs(middle - 0.5) < 0.2
    assert median_bound(baseline, (0,) * len(counts)) is None


def test_what_has_drifted_is_shown_first() -> None:
    baseline = made(gauss(1, 1000))
    figures = [
        judge_numbers(name, baseline, count_numbers(gauss(5, 800, mean=mean), baseline), LIMITS)
        for name, mean in (("a", 0.0), ("b", 2.0), ("c", 0.3))
    ]
    assert [item.name for item in worst_first(figures, 2)] == ["b", "c"]
