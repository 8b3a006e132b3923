import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from edge_agent.inference.worker.series import FeatureError, fill
from edge_agent.inference.worker.spectral_features import LEAST_VALUES, SPECTRAL, spectrum

RATE = 1000.0
RANDOM = np.random.default_rng(3)
NOISE = RANDOM.normal(5.0, 1.0, 256)
SHARP = 2.0 * np.sin(2 * np.pi * 125.0 * np.arange(256) / RATE) + 9.81
"""A tone of amplitude 2 in the middle of a bin, on a constant as an accelerometer has it."""


def value(op: str, window: Any, times: Any = (), **args: Any) -> Any:
    return SPECTRAL[op](fill(np.asarray(window, dtype=np.float64), np.asarray(times, dtype=np.float64)), **args)


def reference(window: Any, rate: float = RATE) -> tuple[Any, Any]:
    """Frequencies and powers without the bin at 0 Hz, by scipy."""
    frequencies, density = scipy.signal.periodogram(window, rate, window="hann", detrend="constant", scaling="density")
    return frequencies[1:], density[1:] * rate / len(window)


@pytest.mark.parametrize("window", [NOISE, NOISE[:255], SHARP, NOISE[:8]], ids=["even", "odd", "tone", "short"])
def test_the_periodogram_is_that_of_scipy(window: Any) -> None:
    frequencies, powers = reference(window)
    given = spectrum(fill(window, np.zeros(0)), RATE)
    assert given.power == pytest.approx(powers, rel=1e-9, abs=1e-20)
    assert np.arange(1, given.power.size + 1) * given.width == pytest.approx(frequencies)


@pytest.mark.parametrize("relative", [False, True])
def test_a_band_has_the_power_of_the_bins_above_its_lower_and_up_to_its_upper_edge(relative: bool) -> None:
    frequencies, powers = reference(NOISE)
    bands = [[0, 62.5], [62.5, 125], [100, 300.5], [300.5, 500]]
    expected = np.array([powers[(frequencies > low) & (frequencies <= high)].sum() for low, high in bands])
    given = value("spectral_bands", NOISE, bands=bands, rate=RATE, relative=relative)
    assert given == pytest.approx(expected / (powers.sum() if relative else 1.0))


def test_bands_that_lie_side_by_side_hold_all_power_once() -> None:
    whole = value("spectral_bands", NOISE, bands=[[0, 500]], rate=RATE)
    parts = value("spectral_bands", NOISE, bands=[[0, 125], [125, 250], [250, 500]], rate=RATE)
    assert parts.sum() == pytest.approx(whole[0])
    assert value("spectral_bands", NOISE, bands=[[0, 500]], rate=RATE, relative=True) == pytest.approx([1])


def test_an_edge_that_binary_cannot_hold_falls_on_its_bin() -> None:
    tone = np.sin(2 * np.pi * 0.29 * np.arange(100))
    assert 0.29 / 0.01 < 29  # the bin of the tone, as bins are 0.01 Hz wide
    low, high = value("spectral_bands", tone, bands=[[0.05, 0.29], [0.29, 0.5]], rate=1)
    assert low == pytest.approx(0.5 * 5 / 6)
    assert high == pytest.approx(0.5 / 6)


def test_a_tone_has_half_its_squared_amplitude_as_power() -> None:
    given = value("spectral_bands", SHARP, bands=[[100, 150], [200, 500]], rate=RATE)
    assert given == pytest.approx([2.0, 0.0], abs=1e-9)


def test_white_noise_adds_up_to_its_variance() -> None:
    noise = np.random.default_rng(1).normal(0.0, 3.0, 20_000)
    assert value("spectral_bands", noise, bands=[[0, 500]], rate=RATE) == pytest.approx([9.0], rel=0.03)


def test_a_tone_dominates_at_its_own_frequency() -> None:
    assert value("dominant_frequency", SHARP, rate=RATE) == pytest.approx(125.0)
    assert value("dominant_frequency", SHARP + 3 * np.sin(2 * np.pi * 250 * np.arange(256) / RATE), rate=RATE) == 250.0
    frequencies, powers = reference(NOISE)
    assert value("dominant_frequency", NOISE, rate=RATE) == pytest.approx(frequencies[powers.argmax()])


def test_centroid_and_entropy_are_those_of_the_power_shares() -> None:
    frequencies, powers = reference(NOISE)
    assert value("spectral_centroid", NOISE, rate=RATE) == pytest.approx(np.average(frequencies, weights=powers))
    assert value("spectral_entropy", NOISE, rate=RATE) == pytest.approx(scipy.stats.entropy(powers) / math.log(128))
    assert value("spectral_entropy", SHARP, rate=RATE) < 0.2 < 0.8 < value("spectral_entropy", NOISE, rate=RATE)


@pytest.mark.parametrize("level", [0.0, 0.1, 9.81])
def test_equal_values_have_no_power_and_no_frequency(level: float) -> None:
    flat = np.full(64, level)
    assert list(value("spectral_bands", flat, bands=[[0, 100], [100, 500]], rate=RATE)) == [0, 0]
    assert list(value("spectral_bands", flat, bands=[[0, 100], [100, 500]], rate=RATE, relative=True)) == [0, 0]
    for op in ("dominant_frequency", "spectral_centroid", "spectral_entropy"):
        assert value(op, flat, rate=RATE) == 0


def test_power_too_small_for_a_square_is_no_power() -> None:
    faint = np.tile([0.0, 1e-200], 16)
    assert list(value("spectral_bands", faint, bands=[[0, 500]], rate=RATE, relative=True)) == [0]
    for op in ("dominant_frequency", "spectral_centroid", "spectral_entropy"):
        assert value(op, faint, rate=RATE) == 0


def test_event_times_give_the_rate_where_they_are_evenly_spaced() -> None:
    times = 1_700_000_000.0 + np.arange(256) * 0.5
    assert value("dominant_frequency", SHARP, times) == pytest.approx(0.25)
    jitter = times + np.where(np.arange(256) % 2, 0.024, 0.0)  # steps of 0.524 and 0.476 s, within a tenth of 0.5 s
    assert value("dominant_frequency", SHARP, jitter) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("op", SPECTRAL)
@pytest.mark.parametrize(
    ("times", "text"),
    [
        ((), "0 event times"),
        (np.delete(np.arange(257.0), 100), "steps of 1 to 2 s; without a rate they must be within 10% of their mean"),
        (np.arange(256) + np.where(np.arange(256) % 2, 0.11, 0.0), "within 10%"),
        (np.zeros(256), "steps of 0 to 0 s"),
        (-np.arange(256.0), "within 10%"),
    ],
    ids=["none", "gap", "jitter", "one time", "backwards"],
)
def test_times_that_are_not_evenly_spaced_need_a_rate(op: str, times: Any, text: str) -> None:
    args = {"bands": [[0, 0.5]]} if op == "spectral_bands" else {}
    with pytest.raises(FeatureError, match=text):
        value(op, NOISE, times, **args)
    value(op, NOISE, times, rate=1.0, **args)


def test_a_short_window_has_no_spectrum() -> None:
    with pytest.raises(FeatureError, match="has 7 values, a spectrum needs 8"):
        value("dominant_frequency", NOISE[: LEAST_VALUES - 1], rate=RATE)


def test_a_band_that_the_window_cannot_see_is_refused_rather_than_empty() -> None:
    with pytest.raises(FeatureError, match=r"a bin every 125 Hz, none of them in the band 130 to 200 Hz"):
        value("spectral_bands", NOISE[:8], bands=[[130, 200]], rate=RATE)
    with pytest.raises(FeatureError, match=r"sampled at 2 Hz, the band 0\.1 to 1.2 Hz ends above half"):
        value("spectral_bands", NOISE, np.arange(256) * 0.5, bands=[[0.1, 1.2]])


def test_a_band_may_end_where_the_nominal_rate_would_have_its_half() -> None:
    slow = np.arange(256) * 0.503  # the sensor's clock is 0.6 % slow
    assert value("spectral_bands", NOISE, slow, bands=[[0.0, 1.0]])[0] == pytest.approx(reference(NOISE)[1].sum())
