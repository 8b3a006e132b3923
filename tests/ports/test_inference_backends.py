"""The port of model runtimes: one suite, run on every backend with a real file of the same small network."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.inference import protocol
from edge_agent.inference.backends import port, tflite
from edge_agent.inference.backends.port import BackendError
from edge_agent.inference.protocol import Load, TensorSpec
from models.tflite_writer import Activation, Dense, Quantisation, write_dense

WEIGHTS = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]], np.float32)
BIAS = np.array([0.1, -0.2], np.float32)
WANTED = TensorSpec("features", "float32", (-1, 3))
GIVEN = TensorSpec("scores", "float32", (-1, 2))
SAMPLES = np.array([[1, 2, 3], [0, 0, 0], [-1, 0.5, 2], [3, -2, 1], [0.1, 0.2, 0.3]], np.float32)


def expected(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = samples.astype(np.float64) @ WEIGHTS.T + BIAS
    powers = np.exp(sums)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def onnx_file(batch: int | str = "batch", extra: Callable[[Any], None] | None = None) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["features", "w", "b"], ["sums"]), helper.make_node("Softmax", ["sums"], ["scores"], axis=1)],
        "softmax",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(np.ascontiguousarray(WEIGHTS.T), "w"), numpy_helper.from_array(BIAS, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if extra is not None:
        extra(model)
    data: bytes = model.SerializeToString()
    return data


def tflite_file() -> bytes:
    return write_dense([Dense(WEIGHTS, BIAS, Activation.SOFTMAX)])


@dataclass(frozen=True)
class Case:
    runtime: str
    make: Callable[[], bytes]
    providers: tuple[str, ...]
    package: str | None = None
    """The one package that is to be found for this case."""


CASES = [
    Case("onnx", onnx_file, ("CPUExecutionProvider",)),
    Case("tflite", tflite_file, ("XNNPACK", "CPU"), "ai-edge-litert"),
    Case("tflite", tflite_file, ("XNNPACK", "CPU"), "tflite-runtime"),
]
if sys.version_info >= (3, 12):  # there are no wheels of it
    CASES = [case for case in CASES if case.package != "tflite-runtime"]


@pytest.fixture(params=CASES, ids=lambda case: case.package or case.runtime)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    chosen: Case = request.param
    if chosen.package is not None:
        monkeypatch.setattr(tflite, "PACKAGES", [item for item in tflite.PACKAGES if item[1] == chosen.package])
    return chosen


def open_model(runtime: str, model: bytes, wanted: TensorSpec, given: TensorSpec) -> port.Backend:
    request = Load(
        bundle="",
        digest="",
        offset=0,
        size=0,
        runtime=runtime,
        runtime_min=None,
        threads=1,
        inputs=(),
        features=(),
        mean=None,
        scale=None,
        input_tensors=(wanted,),
        output_tensor=given,
    )
    return port.load(request, model)


def load(case: Case, wanted: TensorSpec = WANTED, given: TensorSpec = GIVEN) -> port.Backend:
    return open_model(case.runtime, case.make(), wanted, given)


def test_scores_are_those_of_the_network_whatever_the_batch(case: Case) -> None:
    backend = load(case)
    for count in (1, 5, 2, 5, 1):
        got = port.score(backend, {"features": SAMPLES[:count]}, GIVEN)
        assert got.shape == (count, 2)
        assert got == pytest.approx(expected(SAMPLES[:count]), abs=1e-5)


def test_the_provider_and_the_version_that_run_are_named(case: Case) -> None:
    backend = load(case)
    assert backend.provider in case.providers
    assert any(part.isdigit() for part in backend.version.split(".")[0].split(" ")[-1])
    assert case.package is None or backend.version.startswith(case.package)


@pytest.mark.parametrize(
    ("wanted", "given", "text"),
    [
        (TensorSpec("other", "float32", (-1, 3)), GIVEN, "'other'"),
        (TensorSpec("features", "int8", (-1, 3)), GIVEN, "int8"),
        (TensorSpec("features", "float32", (-1, 4)), GIVEN, "4"),
        (WANTED, TensorSpec("other", "float32", (-1, 2)), "'other'"),
        (WANTED, TensorSpec("scores", "float32", (-1, 3)), "3"),
        (WANTED, TensorSpec("scores", "float64", (-1, 2)), "float64"),
    ],
)
def test_a_file_that_differs_from_its_manifest_is_refused(case: Case, wanted: TensorSpec, given: TensorSpec, text: str) -> None:
    with pytest.raises(BackendError, match=text) as caught:
        load(case, wanted, given)
    assert caught.value.reason == protocol.MANIFEST_INVALID


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"not a model at all, only words"], ids=["empty", "zeros", "words"])
def test_bytes_that_are_no_model_are_refused(case: Case, data: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        open_model(case.runtime, data, WANTED, GIVEN)
    assert caught.value.reason == protocol.MODEL_FILE_INVALID


def test_an_unknown_runtime_is_named() -> None:
    with pytest.raises(BackendError, match="'gguf' is none of onnx, tflite") as caught:
        open_model("gguf", b"", WANTED, GIVEN)
    assert caught.value.reason == protocol.RUNTIME_MISSING


def test_a_file_with_a_fixed_batch_is_run_in_pieces_of_it() -> None:
    backend = open_model("onnx", onnx_file(2), WANTED, GIVEN)
    assert backend.max_batch == 2
    assert port.score(backend, {"features": SAMPLES}, GIVEN) == pytest.approx(expected(SAMPLES), abs=1e-5)


def test_quantised_edges_are_given_and_give_real_values() -> None:
    edge_in, edge_out = Quantisation(3 / 127, 0), Quantisation(1 / 256, -128)
    data = write_dense([Dense(WEIGHTS, BIAS, Activation.SOFTMAX)], quantise_input=edge_in, quantise_output=edge_out)
    wanted, given = TensorSpec("features", "int8", (-1, 3)), TensorSpec("scores", "int8", (-1, 2))
    backend = open_model("tflite", data, wanted, given)
    got = port.score(backend, {"features": SAMPLES}, given)
    assert got == pytest.approx(expected(SAMPLES), abs=0.03)
    assert len(np.unique(got)) > 4


@pytest.mark.parametrize(
    ("layers", "expected_scores"),
    [
        ([Dense(WEIGHTS, BIAS, Activation.NONE)], SAMPLES @ WEIGHTS.T + BIAS),
        ([Dense(WEIGHTS, BIAS, Activation.RELU)], np.maximum(SAMPLES @ WEIGHTS.T + BIAS, 0)),
        ([Dense(WEIGHTS, BIAS, Activation.LOGISTIC)], 1 / (1 + np.exp(-(SAMPLES @ WEIGHTS.T + BIAS)))),
    ],
    ids=["none", "relu", "logistic"],
)
def test_the_writer_of_tflite_files_writes_each_activation(layers: list[Dense], expected_scores: Any) -> None:
    backend = open_model("tflite", write_dense(layers), WANTED, GIVEN)
    assert port.score(backend, {"features": SAMPLES}, GIVEN) == pytest.approx(expected_scores, abs=1e-5)


def _add_foreign(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[1].domain = "com.example"


def _add_foreign_in_a_branch(model: Any) -> None:
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Thing", ["features"], ["out"], domain="com.example")], "branch", [], [value])
    model.graph.node.append(helper.make_node("If", ["flag"], ["ignored"], then_branch=branch, else_branch=branch))


def _make_external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/hostname")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_add_foreign, "com.example"),
        (_add_foreign_in_a_branch, "com.example"),
        (_make_external, "external data"),
    ],
)
def test_an_onnx_file_with_foreign_operators_or_external_data_never_reaches_the_runtime(
    change: Callable[[Any], None], text: str
) -> None:
    with pytest.raises(BackendError, match=text) as caught:
        open_model("onnx", onnx_file(extra=change), WANTED, GIVEN)
    assert caught.value.reason == protocol.MODEL_FILE_INVALID


def test_an_onnx_file_cut_off_anywhere_is_refused_without_a_crash() -> None:
    data = onnx_file()
    for end in range(0, len(data), 7):
        with pytest.raises(BackendError):
            open_model("onnx", data[:end], WANTED, GIVEN)


def test_an_operator_that_the_runtime_does_not_know_is_a_load_failure() -> None:
    def rename(model: Any) -> None:
        model.graph.node[1].op_type = "Softmaxx"

    with pytest.raises(BackendError, match="Softmaxx") as caught:
        open_model("onnx", onnx_file(extra=rename), WANTED, GIVEN)
    assert caught.value.reason == protocol.LOAD_FAILED
