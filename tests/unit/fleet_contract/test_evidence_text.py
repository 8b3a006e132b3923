"""One line for people."""

from typing import Any

import msgspec
import pytest

from fleet_contract.evidence_text import describe_evidence
from fleet_contract.update_report import Evidence, Figures


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (None, ""),
        (Evidence(candidate=Figures()), "0 inputs"),
        (
            Evidence(
                candidate=Figures(inferences=40, errors=2, p95_ms=41.23, confidence=0.5),
                incumbent=Figures(inferences=900, p95_ms=20.0, confidence=0.91),
                compared=40,
                agreed=30,
            ),
            "40 inputs, 75% agree, 2 without scores, p95 41.2 ms (was 20), confidence 0.5 (was 0.91)",
        ),
        (Evidence(candidate=Figures(crashes=1)), "0 inputs, 1 crashes"),
        (Evidence(candidate=Figures(drift=2.5), incumbent=Figures(drift=0.0)), "0 inputs, drift 2.5 (was 0)"),
    ],
)
def test_evidence_is_one_line_beside_the_incumbents_figures(evidence: Evidence | None, text: str) -> None:
    plain: Any = None if evidence is None else msgspec.json.decode(msgspec.json.encode(evidence))
    assert describe_evidence(plain) == text
