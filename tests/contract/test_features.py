"""What a manifest may ask for is what a worker computes, and docs/features.md describes."""

import inspect
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.worker.features import FILLED, OPERATIONS, FeatureError, compute, require_known
from fleet_contract import features as contract
from fleet_contract.features import Reads, feature_width
from fleet_contract.manifest import Manifest, parse_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text()

Args = dict[str, Any]

small_number = st.floats(-1e3, 1e3)
number = small_number | st.floats(width=64) | st.just(0.0)
rates = st.floats(1e-3, 1e6) | st.integers(1, 10_000)
edges = st.floats(0, 2.0) | st.integers(0, 5)
bands = st.tuples(edges, edges).filter(lambda band: band[0] < band[1])
VALUES: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("quantile", "q"): st.floats(0, 1),
    ("kurtosis", "excess"): st.booleans(),
    ("slope", "per"): st.sampled_from(["hour", "step"]),
    ("ewma", "alpha"): st.floats(0, 1, exclude_min=True),
    ("values", "n"): st.integers(1, 12),
    ("lag", "k"): st.integers(0, 12),
    ("lags", "k"): st.lists(st.integers(0, 12), min_size=1, max_size=4),
    ("spectral_bands", "bands"): st.lists(bands, min_size=1, max_size=3),
    ("spectral_bands", "relative"): st.booleans(),
    ("char_ngrams", "n_min"): st.integers(1, 2),
    ("char_ngrams", "n_max"): st.integers(2, 4),
    ("char_ngrams", "buckets"): st.integers(1, 64),
}
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "missing": st.sampled_from(["error", "mean", "zero", "previous", "linear"]) | small_number,
    "about": st.sampled_from(["zero", "mean"]),
    "rate": rates,
    "offset_hours": st.floats(-24, 24),
}


@st.composite
def right_features(draw: st.DrawFn, op: str) -> dict[str, Any]:
    """A feature of this operation that a manifest may have."""
    operation = contract.OPERATIONS[op]
    args = {
        name: draw(VALUES[op, name] if (op, name) in VALUES else SHARED[name])
        for name, argument in operation.arguments.items()
        if argument.required or draw(st.booleans())
    }
    if op == "spectral_bands" and "rate" in args:
        args["rate"] = max(args["rate"], 2 * max(high for _, high in args["bands"]))
    return {"op": op, "input": "x" if operation.reads is Reads.INPUT else None, "args": args}


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[float | None], list[float]]:
    """Values and times, from even and whole to what no sensor should send."""
    kind = draw(st.sampled_from(["number", "constant", "small", "missing"]))
    if kind == "constant":
        values: list[float | None] = [draw(number)] * draw(st.integers(0, 40))
    elif kind == "missing":
        values = draw(st.lists(st.none() | small_number, max_size=40))
    else:
        values = draw(st.lists(number if kind == "number" else small_number, max_size=40))
    step = draw(st.floats(0.01, 1e5))
    start = draw(st.floats(0, 4e9))
    times = [start + step * position for position in range(len(values))]
    if draw(st.booleans()):
        times = sorted(draw(st.lists(st.floats(0, 4e9), min_size=len(values), max_size=len(values))))
    return values, draw(st.sampled_from([times, []]))


def least(op: str) -> dict[str, Any]:
    """A feature with no argument but those that it must have."""
    operation = contract.OPERATIONS[op]
    required: Args = {"q": 0.5, "alpha": 0.5, "n": 3, "k": [1, 2], "bands": [[0.0, 0.5]]}
    args = {name: required[name] for name, argument in operation.arguments.items() if argument.required}
    return {"op": op, "input": "x" if operation.reads is Reads.INPUT else None, "args": args}


@pytest.mark.parametrize("op", sorted(contract.OPERATIONS))
def test_an_ordinary_window_has_every_feature(op: str) -> None:
    feature = least(op)
    vector = compute([feature], {"x": [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]}, [float(second) for second in range(8)], "rain")
    assert vector.shape == (feature_width(op, feature["input"], feature["args"]),)


@pytest.mark.parametrize("op", sorted(contract.OPERATIONS))
@given(data=st.data())
def test_every_right_feature_gives_its_declared_width_of_finite_values_or_blames_the_window(op: str, data: Any) -> None:
    feature = data.draw(right_features(op))
    values, times = data.draw(windows())
    text = data.draw(st.none() | st.text(max_size=20))
    width = feature_width(feature["op"], feature["input"], feature["args"])
    require_known([feature])
    try:
        vector = compute([feature], {"x": values}, times, text)
    except FeatureError:
        return
    assert vector.shape == (width,)
    assert all(math.isfinite(value) for value in vector)


def test_contract_and_worker_have_the_same_operations_and_arguments() -> None:
    assert set(contract.OPERATIONS) == set(OPERATIONS)
    for op, operation in contract.OPERATIONS.items():
        parameters = list(inspect.signature(OPERATIONS[op]).parameters.values())[1:]
        wanted = {parameter.name: parameter.default is inspect.Parameter.empty for parameter in parameters}
        if op in FILLED:
            wanted["missing"] = False
        assert {name: argument.required for name, argument in operation.arguments.items()} == wanted, op


def table_rows() -> dict[str, list[str]]:
    """Operation to the cells of its row."""
    rows: dict[str, list[str]] = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for op in re.findall(r"`(\w+)`", cells[0]):
                assert op not in rows, op
                rows[op] = cells
    return rows


def test_the_document_has_every_operation_with_its_arguments_and_defaults() -> None:
    rows = table_rows()
    assert set(rows) == set(OPERATIONS)
    for op, function in OPERATIONS.items():
        stated = dict(re.findall(r"`(\w+)`(?: \(([^)]*)\))?", rows[op][1]))
        parameters = list(inspect.signature(function).parameters.values())[1:]
        assert set(stated) == {parameter.name for parameter in parameters}, op
        for parameter in parameters:
            if parameter.default is inspect.Parameter.empty or parameter.default is None:
                assert not stated[parameter.name], op
            elif isinstance(parameter.default, bool):
                assert stated[parameter.name] == str(parameter.default).lower(), op
            elif isinstance(parameter.default, str):
                assert stated[parameter.name] == f'"{parameter.default}"', op
            else:
                assert float(stated[parameter.name]) == parameter.default, op


def test_the_document_states_how_many_values_every_operation_gives() -> None:
    lengths = {"values": "`n`", "lags": "length of `k`", "spectral_bands": "number of `bands`", "char_ngrams": "`buckets`"}
    for op, cells in table_rows().items():
        feature = least(op)
        assert cells[2] == lengths.get(op, str(feature_width(op, feature["input"], feature["args"]))), op


def example() -> Manifest:
    """The worked example, completed by what every manifest has."""
    (block,) = re.findall(r"(?s)```toml\n(.*?)```", PAGE)
    width = sum(feature_width(item["op"], item.get("input"), item.get("args", {})) for item in tomllib.loads(block)["features"])
    rest = f"""
        schema = 1
        name = "pump"
        version = "1.0.0"
        task = "anomaly"
        runtime = "onnx"
        file = "model.onnx"
        golden = "golden.json"
        licence = "Apache-2.0"
        input_tensor = {{ name = "features", dtype = "float32", shape = [-1, {width}] }}
        output_tensor = {{ name = "scores", dtype = "float32", shape = [-1, 1] }}
    """
    return parse_manifest((rest + block).encode())


def test_the_documents_example_parses_and_is_computed() -> None:
    manifest = example()
    assert f"gives {manifest.input_tensor.shape[-1]} values" in PAGE
    rate, size = 1600.0, manifest.window
    vibration = [9.81 + math.sin(2 * math.pi * 200.0 * at / rate) for at in range(size)]
    features = [{"op": item.op, "input": item.input, "args": item.args} for item in manifest.features]
    vector = compute(features, {"acceleration": vibration, "temperature": [40.0] + [None] * (size - 1)}, [0.0] * size)
    assert vector.shape == (manifest.input_tensor.shape[-1],)
    assert vector[0] == pytest.approx(math.sqrt(0.5), rel=1e-3)
