from typing import Any

import pytest

from fleet_contract.evaluation import Evaluation
from fleet_controller.variants.figures import Likeness, Quality
from fleet_controller.variants.graph_facts import GraphFacts
from fleet_controller.variants.judging import Limits, Measured, refusals, remarks

FLOAT = GraphFacts({"float32": 100}, {"MatMul": 4}, 4, 0)
INT8 = GraphFacts({"float32": 2, "int8": 98}, {"MatMulInteger": 4}, 4, 4)


def measured(
    *,
    file_bytes: int = 1000,
    facts: GraphFacts = FLOAT,
    accuracy: float | None = 0.9,
    cosine: float | None = 0.99,
    latency: float = 0.010,
    **ran: Any,
) -> Measured:
    return Measured(
        file_bytes,
        facts,
        Evaluation(latency_p50=latency, **ran),
        None if accuracy is None else Quality("accuracy", accuracy, 200),
        Likeness(cosine, cosine, 0.1),
    )


SOURCE = measured()


@pytest.mark.parametrize(
    ("variant", "limits", "text"),
    [
        (measured(golden=("golden_mismatch", "golden sample 2: off"), golden_difference=0.031), Limits(), "0.031"),
        (measured(accuracy=0.88), Limits(), "falls from 0.9000 to 0.8800 on 200 samples, by 0.0200"),
        (measured(accuracy=0.899), Limits(max_loss=0), "--max-loss 0"),
        (measured(accuracy=float("nan")), Limits(), "accuracy falls"),
        (measured(cosine=0.96), Limits(min_cosine=0.97), "mean cosine to the source's scores is 0.9600"),
        (measured(faults=((3, "bad_output", "not finite"),)), Limits(), "number 3: not finite"),
        (measured(), Limits(require_gain=True), "neither smaller nor faster"),
        (measured(file_bytes=960, latency=0.0096), Limits(require_gain=True), "neither smaller nor faster"),
    ],
)
def test_a_variant_that_breaks_a_limit_is_refused(variant: Measured, limits: Limits, text: str) -> None:
    (reason,) = refusals(SOURCE, variant, limits)
    assert text in reason


@pytest.mark.parametrize(
    ("variant", "limits"),
    [
        (measured(accuracy=0.89), Limits(max_loss=0.01)),
        (measured(accuracy=0.95), Limits(max_loss=0)),
        (measured(accuracy=None), Limits(max_loss=0)),
        (measured(cosine=None), Limits(min_cosine=0.99)),
        (measured(cosine=0.5), Limits()),
        (measured(file_bytes=940), Limits(require_gain=True)),
        (measured(latency=0.0094), Limits(require_gain=True)),
    ],
)
def test_a_variant_within_the_limits_is_accepted(variant: Measured, limits: Limits) -> None:
    assert refusals(SOURCE, variant, limits) == []


def test_faults_that_the_source_has_too_are_no_reason() -> None:
    fault = ((0, "wrong_shape", "a gap"),)
    assert refusals(measured(faults=fault), measured(faults=fault), Limits()) == []


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (measured(), ["no gain: neither smaller nor faster"]),
        (measured(file_bytes=500), ["not faster here"]),
        (measured(latency=0.001), ["not smaller"]),
        (measured(file_bytes=300, latency=0.004, facts=INT8), []),
        (
            measured(file_bytes=300, latency=0.004, facts=GraphFacts({"int8": 98}, {}, 4, 0)),
            ["stored narrow, but the runtime computes with float32 here"],
        ),
        (
            measured(file_bytes=300, latency=0.004, facts=GraphFacts({"int8": 98}, {}, 4, 3)),
            ["1 of 4 heavy operators still compute with float32"],
        ),
    ],
)
def test_what_is_no_gain_is_remarked(variant: Measured, expected: list[str]) -> None:
    assert remarks(SOURCE, variant) == expected
