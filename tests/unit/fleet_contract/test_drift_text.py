"""What people read of drift."""

from fleet_contract.drift_text import describe_drift

FAR = {"name": "input.flow", "psi": 1.234, "ks": 0.5, "missing": 0.25, "out_of_range": 0.0, "drifted": True}
NEAR = {"name": "output.label", "psi": 0.01}


def test_one_line_says_what_has_drifted_or_why_that_is_not_known() -> None:
    assert describe_drift(None) == ""
    assert describe_drift({"inputs": 5, "total": 5}) == "5 inputs, no baseline to hold them to"
    assert describe_drift({"inputs": 5, "total": 5, "worst": [NEAR]}) == "5 inputs, too few to judge"
    near = describe_drift({"inputs": 500, "total": 900, "judged": True, "worst": [NEAR]})
    assert near == "near the baseline, farthest is output.label (PSI 0.01); of 500 inputs"
    far = describe_drift({"inputs": 500, "total": 900, "judged": True, "worst": [FAR, NEAR]})
    assert far == "drifted: input.flow (PSI 1.23, KS 0.50, 25% missing); of 500 inputs"
