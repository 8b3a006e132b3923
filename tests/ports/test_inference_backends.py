"""The port of model runtimes: one suite, run on every backend with a real file of the same small network."""

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_agent.inference import protocol
from edge_agent.inference.backends import onnx as onnx_backend
from edge_agent.inference.backends import port, tflite
from edge_agent.inference.backends.port import BackendError, Cancelled
from edge_agent.inference.protocol import TensorSpec
from models.tflite_writer import Activation, Dense, Quantisation, write_dense
from tests.ports.networks import (
    BIAS,
    CASES,
    GIVEN,
    SAMPLES,
    WANTED,
    WEIGHTS,
    Case,
    endless_onnx_file,
    expected,
    onnx_file,
    open_model,
)


@pytest.fixture(params=CASES, ids=lambda case: case.package or case.runtime)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    chosen: Case = request.param
    if chosen.package is not None:
        monkeypatch.setattr(tflite, "PACKAGES", [item for item in tflite.PACKAGES if item[1] == chosen.package])
    return chosen


def load(case: Case, wanted: TensorSpec = WANTED, given: TensorSpec = GIVEN) -> port.Backend:
    return open_model(case.runtime, case.make(), wanted, given)


def test_scores_are_those_of_the_network_whatever_the_batch(case: Case) -> None:
    backend = load(case)
    for count in (1, 5, 2, 5, 1):
        got = port.score(backend, {"features": SAMPLES[:count]}, GIVEN)
        assert got.shape == (count, 2)
        assert got == pytest.approx(expected(SAMPLES[:count]), abs=1e-5)


def test_int8_arithmetic_gives_the_networks_scores_within_its_steps(case: Case) -> None:
    wanted, given = TensorSpec("features", case.edge, (-1, 3)), TensorSpec("scores", case.edge, (-1, 2))
    backend = open_model(case.runtime, case.quantised(), wanted, given)
    for count in (5, 1):
        got = port.score(backend, {"features": SAMPLES[:count]}, given)
        assert got == pytest.approx(expected(SAMPLES[:count]), abs=0.02)
    assert sum(backend.placement.values()) == pytest.approx(1)


def test_two_inputs_are_told_apart_by_name(case: Case) -> None:
    more = TensorSpec("more", "float32", (-1, 3))
    backend = open_model(case.runtime, case.two_inputs(), (more, WANTED))
    halves = {"more": SAMPLES * np.float32(0.25), "features": SAMPLES * np.float32(0.75)}
    assert port.score(backend, halves, GIVEN) == pytest.approx(expected(SAMPLES), abs=1e-5)


def test_inputs_of_any_size_are_taken_one_after_the_other(case: Case) -> None:
    wanted, given = TensorSpec("features", "float32", (-1, -1)), TensorSpec("scores", "float32", (-1, -1))
    backend = open_model(case.runtime, case.any_size(), wanted, given)
    for shape in ((1, 3), (4, 7), (1, 3), (2, 1)):
        values = np.linspace(-2, 2, shape[0] * shape[1], dtype=np.float32).reshape(shape)
        assert port.score(backend, {"features": values}, given) == pytest.approx(1 / (1 + np.exp(-values)), abs=1e-5)


def test_a_size_that_the_model_cannot_take_costs_that_run_alone(case: Case) -> None:
    backend = load(case)
    for _ in range(2):
        with pytest.raises(Exception, match=r"invalid dimensions for input: features|'features' takes shape"):
            backend.run({"features": np.zeros((2, 4), np.float32)})
        got = port.score(backend, {"features": SAMPLES}, GIVEN)
        assert got == pytest.approx(expected(SAMPLES), abs=1e-5)


def test_cancelling_where_nothing_runs_does_no_harm_to_what_comes_after(case: Case) -> None:
    backend = load(case)
    backend.run({"features": SAMPLES})
    backend.cancel()
    with contextlib.suppress(Cancelled):
        backend.run({"features": SAMPLES})
    assert port.score(backend, {"features": SAMPLES}, GIVEN) == pytest.approx(expected(SAMPLES), abs=1e-5)


@pytest.mark.parametrize("asked", [{"require": ("coreml",)}, {"delegates": ("edgetpu",)}, {"delegates": ("/no/such.so",)}])
def test_what_is_required_and_missing_fails_or_degrades_as_the_configuration_says(case: Case, asked: Any) -> None:
    (name,) = next(iter(asked.values()))
    with pytest.raises(BackendError, match=f"{name}: ") as caught:
        open_model(case.runtime, case.make(), **asked)
    assert caught.value.reason == protocol.PROVIDER_MISSING
    backend = open_model(case.runtime, case.make(), on_missing="degrade", **asked)
    assert backend.degraded is not None
    assert backend.degraded.startswith(f"{name}: ")
    assert backend.provider in case.providers
    assert port.score(backend, {"features": SAMPLES}, GIVEN) == pytest.approx(expected(SAMPLES), abs=1e-5)


def test_requiring_the_cpu_is_asking_for_nothing_special(case: Case) -> None:
    backend = open_model(case.runtime, case.make(), require=("cpu",))
    assert backend.degraded is None
    assert backend.provider in case.providers


def test_the_provider_its_share_and_the_version_that_run_are_named(case: Case) -> None:
    backend = load(case)
    assert backend.provider in case.providers
    assert backend.placement == {backend.provider: 1.0}
    assert backend.degraded is None
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
    assert caught.value.reason == protocol.TENSOR_MISMATCH


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


def test_a_run_that_fails_tells_its_caller_alone(capfd: pytest.CaptureFixture[str]) -> None:
    def look_elsewhere(model: Any) -> None:
        del model.graph.node[1]
        model.graph.node.append(helper.make_node("Cast", ["sums"], ["places"], to=TensorProto.INT64))
        model.graph.node.append(helper.make_node("GatherElements", ["sums", "places"], ["scores"], axis=1))

    backend = open_model("onnx", onnx_file(extra=look_elsewhere))
    capfd.readouterr()
    with pytest.raises(Exception, match="Out of range"):
        backend.run({"features": SAMPLES + 1000})
    assert capfd.readouterr() == ("", "")


def test_a_batch_that_found_no_memory_once_is_run_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    backend: Any = load(next(case for case in CASES if case.runtime == "tflite"))
    allocate = backend._interpreter.allocate_tensors
    refusals = ["no memory"]

    def allocate_later() -> None:
        if refusals:
            raise RuntimeError(refusals.pop())
        allocate()

    monkeypatch.setattr(backend._interpreter, "allocate_tensors", allocate_later)
    with pytest.raises(RuntimeError, match="no memory"):
        port.score(backend, {"features": SAMPLES}, GIVEN)
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
    ("change", "reason", "text"),
    [
        (_add_foreign, protocol.FOREIGN_OPERATOR, "com.example"),
        (_add_foreign_in_a_branch, protocol.FOREIGN_OPERATOR, "com.example"),
        (_make_external, protocol.EXTERNAL_DATA, "external data"),
    ],
)
def test_an_onnx_file_with_foreign_operators_or_external_data_never_reaches_the_runtime(
    change: Callable[[Any], None], reason: str, text: str
) -> None:
    with pytest.raises(BackendError, match=text) as caught:
        open_model("onnx", onnx_file(extra=change), WANTED, GIVEN)
    assert caught.value.reason == reason


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


def test_a_run_without_end_is_cancelled_from_another_thread_and_the_next_one_is_not_touched() -> None:
    backend = open_model("onnx", endless_onnx_file())
    calm = np.zeros((1, 3), np.float32)
    assert backend.run({"features": calm}) == pytest.approx(expected(calm), abs=1e-5)
    # Set again and again, as the run may begin only after the first one.
    over = threading.Event()
    canceller = threading.Thread(target=lambda: [backend.cancel() for _ in iter(lambda: over.wait(0.05), True)])
    canceller.start()
    try:
        with pytest.raises(Cancelled):
            backend.run({"features": calm + 5})
    finally:
        over.set()
        canceller.join()
    with contextlib.suppress(Cancelled):  # the thread's last word may have come after the run
        backend.run({"features": calm})
    assert backend.run({"features": calm}) == pytest.approx(expected(calm), abs=1e-5)


def test_a_required_provider_that_is_not_built_in_is_refused_with_its_reason() -> None:
    with pytest.raises(BackendError, match=r"coreml: onnxruntime [\d.]+ is built without it; spoon: no such") as caught:
        open_model("onnx", onnx_file(), require=("coreml", "spoon"))
    assert caught.value.reason == protocol.PROVIDER_MISSING


def test_a_required_provider_that_takes_none_of_the_nodes_does_not_count_as_working(monkeypatch: pytest.MonkeyPatch) -> None:
    # The one provider beside the CPU's that every build has; it starts, and computes nothing of such a model.
    monkeypatch.setattr(onnx_backend, "PROVIDERS", {**onnx_backend.PROVIDERS, "azure": "AzureExecutionProvider"})
    with pytest.raises(BackendError, match="azure: takes 0% of the nodes that compute") as caught:
        open_model("onnx", onnx_file(), require=("azure",))
    assert caught.value.reason == protocol.PROVIDER_MISSING
    backend = open_model("onnx", onnx_file(), require=("azure",), on_missing="degrade")
    assert (backend.provider, backend.placement) == ("CPUExecutionProvider", {"CPUExecutionProvider": 1.0})
    assert backend.degraded == "azure: takes 0% of the nodes that compute"


def test_the_cpu_among_the_required_providers_is_no_degradation() -> None:
    backend = open_model("onnx", onnx_file(), require=("coreml", "cpu"))
    assert (backend.provider, backend.degraded) == ("CPUExecutionProvider", None)


def test_a_broken_model_is_told_from_a_missing_provider() -> None:
    def rename(model: Any) -> None:
        model.graph.node[1].op_type = "Softmaxx"

    with pytest.raises(BackendError, match="Softmaxx") as caught:
        open_model("onnx", onnx_file(extra=rename), require=("coreml",))
    assert caught.value.reason == protocol.LOAD_FAILED


@pytest.mark.parametrize("operator", ["EPContext", "Snpe"])
def test_compiled_code_for_a_device_never_reaches_the_runtime(operator: str) -> None:
    def add(model: Any) -> None:
        model.graph.node.append(
            helper.make_node(operator, ["features"], ["ignored"], domain="com.microsoft", ep_cache_context="/etc/hostname")
        )
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    with pytest.raises(BackendError, match=f"{operator}, which is compiled code") as caught:
        open_model("onnx", onnx_file(extra=add))
    assert caught.value.reason == protocol.FOREIGN_OPERATOR


def test_bytes_that_also_look_like_the_runtimes_own_format_are_read_as_what_was_checked() -> None:
    # An unknown field of 4 bytes length puts the other format's identifier where that format has it.
    disguised = b"\xfa\x7f\x06\x00ORTM\x00" + onnx_file()
    assert disguised[4:8] == b"ORTM"
    backend = open_model("onnx", disguised)
    assert port.score(backend, {"features": SAMPLES}, GIVEN) == pytest.approx(expected(SAMPLES), abs=1e-5)


def test_the_runtime_keeps_no_copy_of_the_file() -> None:
    model = onnx_file()
    before = sys.getrefcount(model)
    backend = open_model("onnx", model)
    assert backend.provider == "CPUExecutionProvider"
    assert sys.getrefcount(model) == before
