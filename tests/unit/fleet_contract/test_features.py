from typing import Any

import pytest

from fleet_contract.features import MAX_BANDS, FeatureRuleError, feature_width
from fleet_contract.manifest import ManifestError, parse_manifest


@pytest.mark.parametrize(
    ("op", "name", "args", "width"),
    [
        ("mean", "flow", {}, 1),
        ("mean", "flow", {"missing": "linear"}, 1),
        ("mean", "flow", {"missing": -1.5}, 1),
        ("values", "flow", {"n": 24}, 24),
        ("lags", "flow", {"k": [1, 2, 24]}, 3),
        ("spectral_bands", "flow", {"bands": [[0, 10], [10, 50]], "rate": 100}, 2),
        ("spectral_bands", "flow", {"bands": [(0, 10)], "relative": True}, 1),
        ("hour", None, {"offset_hours": 3.5}, 2),
        ("char_ngrams", None, {}, 1024),
        ("char_ngrams", None, {"n_min": 5, "n_max": 5, "buckets": 16}, 16),
    ],
)
def test_a_right_feature_has_its_width(op: str, name: str | None, args: dict[str, Any], width: int) -> None:
    assert feature_width(op, name, args) == width


@pytest.mark.parametrize(
    ("op", "name", "args", "text"),
    [
        ("mode", "flow", {}, "'mode' is no operation; there are: char_ngrams, count"),
        ("mean", None, {}, "mean: input: the name"),
        ("hour", "flow", {}, "hour: input: it reads the times"),
        ("char_ngrams", "flow", {}, "char_ngrams: input: it reads the text"),
        ("mean", "flow", {"window": 3}, "mean: unknown argument 'window'; there are: missing"),
        ("count", "flow", {"missing": "drop"}, "count: unknown argument 'missing'; there are: none"),
        ("mean", "flow", {"missing": "guess"}, 'mean: missing: "error", "drop".* or a number, not \'guess\''),
        ("mean", "flow", {"missing": True}, "mean: missing"),
        ("mean", "flow", {"missing": float("nan")}, "mean: missing"),
        ("mean", "flow", {"missing": 16**5000}, "mean: missing: .* not this int"),
        ("mean", "flow", {"missing": 1e39}, "mean: missing"),
        ("values", "flow", {}, "values: n is needed: a whole number"),
        ("values", "flow", {"n": True}, "values: n"),
        ("values", "flow", {"n": 0}, "values: n"),
        ("values", "flow", {"n": 2, "missing": "drop"}, "values: missing"),
        ("lag", "flow", {"k": -1}, "lag: k"),
        ("lags", "flow", {"k": []}, "lags: k: a list"),
        ("lags", "flow", {"k": [1, 0.5]}, "lags: k"),
        ("lags", "flow", {"k": 3}, "lags: k"),
        ("slope", "flow", {"per": "day"}, 'slope: per: "hour" or "step"'),
        ("slope", "flow", {"per": 1}, "slope: per"),
        ("quantile", "flow", {}, "quantile: q is needed"),
        ("quantile", "flow", {"q": 95}, "quantile: q: a number from 0 to 1, not 95"),
        ("ewma", "flow", {"alpha": 0}, "ewma: alpha: above 0"),
        ("ewma", "flow", {"alpha": 1.1}, "ewma: alpha"),
        ("kurtosis", "flow", {"excess": 1}, "kurtosis: excess: true or false"),
        ("rms", "flow", {"about": "median"}, "rms: about"),
        ("dominant_frequency", "flow", {"rate": 0}, "dominant_frequency: rate"),
        ("dominant_frequency", "flow", {"missing": "drop"}, "dominant_frequency: missing"),
        ("spectral_bands", "flow", {}, "spectral_bands: bands is needed"),
        ("spectral_bands", "flow", {"bands": []}, "spectral_bands: bands"),
        ("spectral_bands", "flow", {"bands": [[0, 1]] * (MAX_BANDS + 1)}, "spectral_bands: bands"),
        ("spectral_bands", "flow", {"bands": [[10, 5]]}, "spectral_bands: bands"),
        ("spectral_bands", "flow", {"bands": [[1, 2, 3]]}, "spectral_bands: bands"),
        ("spectral_bands", "flow", {"bands": [[-1, 2]]}, "spectral_bands: bands"),
        ("spectral_bands", "flow", {"bands": [[0, 60]], "rate": 100}, "bands: 0 to 60 Hz ends above half of the rate, 50 Hz"),
        ("char_ngrams", None, {"n_min": 4, "n_max": 2}, "n_min: no more than n_max"),
        ("char_ngrams", None, {"n_min": 5}, "n_min: no more than n_max"),
        ("hour", None, {"offset_hours": "2"}, "hour: offset_hours"),
        ("month", None, {"offset_hours": 25}, "month: offset_hours"),
    ],
)
def test_a_wrong_feature_is_refused_by_operation_and_argument(
    op: str, name: str | None, args: dict[str, Any], text: str
) -> None:
    with pytest.raises(FeatureRuleError, match=text):
        feature_width(op, name, args)


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ('[{ op = "last", input = "temp_min" }, { op = "mode" }]', r"features\[1\]: 'mode' is no operation"),
        ('[{ op = "last", input = "temp_min", args = { k = 1 } }]', r"features\[0\]: last: unknown argument 'k'"),
        ('[{ op = "char_ngrams" }]', r"features\[0\]: char_ngrams reads a text, but kind is window"),
        ('[{ op = "hour" }]', "input_tensor.shape: takes 1 values, but the features give 2"),
    ],
)
def test_a_manifest_is_refused_for_its_features(features: str, text: str, manifest_text: bytes) -> None:
    old = b'[{ op = "last", input = "temp_min" }]'
    assert old in manifest_text
    with pytest.raises(ManifestError, match=text):
        parse_manifest(manifest_text.replace(old, features.encode()))
