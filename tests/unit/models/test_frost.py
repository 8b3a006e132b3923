"""Training of `frost`."""

import pytest

from fleet_contract.manifest import parse_manifest
from models.bundle_folder import MODELS
from models.frost import SECOND, questions, train


def test_training_again_gives_the_committed_figures() -> None:
    committed = parse_manifest((MODELS / "frost" / "2.0.0" / "model.toml").read_bytes())
    manifest, _ = train("2.0.0", SECOND, [2012, 2013, 2014], strength=1.0)
    assert manifest.metrics == pytest.approx(committed.metrics, abs=0.005)


def test_the_held_out_year_has_an_answer_for_each_day() -> None:
    asked, frost = questions([2015])
    assert (len(asked), int(frost.sum())) == (365, 31)
