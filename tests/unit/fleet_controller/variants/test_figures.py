import math
from typing import Any

import msgspec
import pytest

from fleet_contract.evaluation import DataSample
from fleet_contract.manifest import Decision, InputKind, Manifest, Tensor
from fleet_controller.variants.figures import decide, likeness, quality


def with_labels(manifest: Manifest, *labels: str, **decision: Any) -> Manifest:
    tensor = Tensor(name="y", dtype="float32", shape=(-1, max(len(labels), 1)))
    return msgspec.structs.replace(manifest, labels=labels, decision=Decision(**decision), output_tensor=tensor)


@pytest.mark.parametrize(
    ("labels", "decision", "scores", "decided"),
    [
        (("dry", "wet", "mud"), {}, (0.2, 0.3, 0.5), "mud"),
        (("dry", "wet"), {"label": "wet", "threshold": 0.3}, (0.6, 0.4), "wet"),
        (("dry", "wet", "mud"), {"label": "wet", "threshold": 0.6}, (0.1, 0.5, 0.4), "mud"),
        (("dry", "wet"), {"label": "wet"}, (0.6, 0.4), "dry"),
        (("frost",), {}, (0.5,), "frost"),
        (("frost",), {}, (0.49,), "none"),
        (("frost",), {"label": "frost", "threshold": 0.3}, (0.31,), "frost"),
    ],
)
def test_a_label_is_decided_as_the_bundle_says(
    manifest: Manifest, labels: tuple[str, ...], decision: dict[str, Any], scores: tuple[float, ...], decided: str
) -> None:
    assert decide(with_labels(manifest, *labels, **decision), scores) == decided


def test_accuracy_is_the_share_of_right_labels_among_samples_that_have_one(manifest: Manifest) -> None:
    samples = [
        DataSample(label="wet"),
        DataSample(label="dry"),
        DataSample(scores=(0.0, 0.0, 1.0)),
        DataSample(label="mud"),
        DataSample(),
    ]
    wet, mud = (0.1, 0.8, 0.1), (0.0, 0.0, 1.0)
    got = quality(manifest, samples, [wet, wet, mud, None, wet])
    assert got is not None
    assert (got.name, got.value, got.samples, got.mae) == ("accuracy", 0.5, 4, None)
    assert quality(manifest, [DataSample()], [wet]) is None


def test_a_regression_has_r2_and_mean_absolute_error(manifest: Manifest) -> None:
    regression = with_labels(manifest)
    samples = [DataSample(scores=(value,)) for value in (1.0, 2.0, 3.0, 4.0)]
    perfect = quality(regression, samples, [(1.0,), (2.0,), (3.0,), (4.0,)])
    off = quality(regression, samples, [(1.5,), (2.0,), (3.0,), None])
    assert perfect is not None
    assert off is not None
    assert (perfect.name, perfect.value, perfect.mae) == ("r2", 1.0, 0.0)
    # Squares: 0.25 + 0 + 0 + 1.5², the last one because nothing was answered; of 5 around the mean 2.5.
    assert off.value == pytest.approx(1 - 2.5 / 5)
    assert off.mae == pytest.approx(0.5)
    assert quality(regression, samples[:1], [(1.0,)]) is None


def test_likeness_is_over_what_both_answered() -> None:
    got = likeness([(1.0, 0.0), (0.0, 2.0), None], [(2.0, 0.0), (1.0, 1.0), (9.0, 9.0)])
    assert got is not None
    assert got.cosine_mean == pytest.approx((1 + 2**-0.5) / 2)
    assert got.cosine_least == pytest.approx(2**-0.5)
    assert got.largest_difference == 1.0
    assert likeness([None], [(1.0,)]) is None


def test_a_single_score_has_no_cosine() -> None:
    got = likeness([(0.2,)], [(0.5,)])
    assert got is not None
    assert got.cosine_mean is None
    assert got.largest_difference == pytest.approx(0.3)


def test_a_model_that_embeds_is_right_where_the_nearest_other_sample_has_the_same_label(manifest: Manifest) -> None:
    encoder = with_labels(manifest)
    samples = [DataSample(label=label) for label in ("pest", "pest", "leak", "leak", "leak")]
    near = [(1.0, 0.0), (5.0, 0.5), (0.0, 2.0), (0.1, 1.0), None]
    got = quality(encoder, samples, near)
    assert got is not None
    assert (got.name, got.value, got.samples) == ("neighbour_accuracy", 0.8, 5)
    assert quality(encoder, samples[:2], near[:2]) is None


def test_neighbours_are_looked_for_over_all_blocks(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [DataSample(label=f"{position % 4}") for position in range(8)]
    at = [(math.cos(position % 4 + position / 100), math.sin(position % 4 + position / 100)) for position in range(8)]
    whole = quality(with_labels(manifest), samples, at)
    monkeypatch.setattr("fleet_controller.variants.figures._BLOCK", 3)
    assert quality(with_labels(manifest), samples, at) == whole
    assert whole is not None
    assert whole.value == 1.0


def test_answers_of_any_size_are_compared_one_by_one() -> None:
    got = likeness([(1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0)], [(1.0, 1.0), (1.0, -7.0), (0.0, 0.0)])
    assert got is not None
    assert got.cosine_mean == pytest.approx(2 / 3)
    assert (got.cosine_least, got.largest_difference) == (0.0, 7.0)


def test_maps_have_a_likeness_and_no_accuracy(manifest: Manifest) -> None:
    tensor = Tensor(name="y", dtype="float32", shape=(-1, 1, -1, -1))
    maps = msgspec.structs.replace(manifest, kind=InputKind.TENSOR, labels=(), output_tensor=tensor)
    assert quality(maps, [DataSample(scores=(1.0,)), DataSample(scores=(1.0, 2.0))], [(1.0,), (1.0, 2.0)]) is None
