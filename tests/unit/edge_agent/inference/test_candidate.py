import math

import pytest

from edge_agent.inference.answers import Failure, Scored
from edge_agent.inference.candidate import compare
from fleet_contract.manifest import GoldenSample
from fleet_contract.reasons import Reason

SAMPLES = [GoldenSample(scores=(0.5, 0.5), tolerance=0.01), GoldenSample(scores=(0.9, 0.1), tolerance=0.01)]


def test_scores_within_the_tolerance_pass() -> None:
    assert compare(SAMPLES, [(0.509, 0.491), (0.9, 0.1)]) is None


@pytest.mark.parametrize(
    ("second", "reason", "text"),
    [
        ((0.8, 0.1), Reason.GOLDEN_MISMATCH, "golden sample 5: score 0 is 0.8, expected 0.9 within 0.01"),
        ((math.nan, 0.1), Reason.GOLDEN_MISMATCH, "golden sample 5: score 0 is nan, expected 0.9 within 0.01"),
        ((0.9,), Reason.BAD_OUTPUT, "golden sample 5: 1 scores, expected 2"),
        (Failure(Reason.WRONG_SHAPE, "no"), Reason.GOLDEN_MISMATCH, "golden sample 5: wrong_shape: no"),
    ],
)
def test_the_first_sample_that_differs_is_named(second: Scored, reason: Reason, text: str) -> None:
    assert compare(SAMPLES, [(0.5, 0.5), second], first=4) == Failure(reason, text)
