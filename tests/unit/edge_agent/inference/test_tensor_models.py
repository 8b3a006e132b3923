"""Models that are asked with raw tensors, through real workers."""

import importlib.util
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge_agent.inference import process, protocol
from edge_agent.inference.answers import Answer, Failure, ModelInput, TensorValue
from edge_agent.inference.models import Models
from edge_agent.inference.process import WorkerProcess, run_request
from edge_agent.inference.run_plan import resolve
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.reasons import Reason

_spec = importlib.util.spec_from_file_location("inference_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
support = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(support)


def detector() -> bytes:
    """`weight * mean over the three channels`, a map of the image's size; the weight is an input of its own."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    weight = helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["batch", 1, 1, 1])
    out = helper.make_tensor_value_info("map", TensorProto.FLOAT, ["batch", 1, "height", "width"])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "weight"], ["map"]),
    ]
    graph = helper.make_graph(nodes, "detector", [image, weight], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


MANIFEST = """
schema = 1
name = "leak"
version = "1.0.0"
task = "detection"
runtime = "onnx"
file = "model.bin"
golden = "golden.json"
kind = "tensor"
licence = "Apache-2.0"
input_tensors = [
  { name = "weight", dtype = "float32", shape = [-1, 1, 1, 1] },
  { name = "image", dtype = "float32", shape = [-1, 3, -1, -1] },
]
output_tensor = { name = "map", dtype = "float32", shape = [-1, 1, -1, -1] }
"""
GOLDEN = [
    {
        "tensors": {
            "image": {"dtype": "float32", "shape": [3, 1, 2], "values": [[[1, 2]], [[3, 4]], [[5, 6]]]},
            "weight": {"dtype": "float32", "shape": [1, 1, 1], "values": [[[2]]]},
        },
        "scores": [6.0, 8.0],
    }
]


def write(path: Path, golden: Any = GOLDEN) -> str:
    return str(
        support.write_entries(
            path, {"model.toml": MANIFEST.encode(), "model.bin": detector(), "golden.json": json.dumps(golden).encode()}
        )
    )


@pytest.fixture
def bundle(store: Any) -> Any:
    path = store.incoming() / "part"
    return store.add(path, write(path))


def ask(height: int, width: int, fill: float = 1.0, weight: float = 1.0) -> ModelInput:
    image = np.full((3, height, width), fill, np.float32)
    return ModelInput(
        tensors={
            "image": TensorValue("float32", image.shape, image.data.cast("B")),
            "weight": TensorValue("float32", (1, 1, 1), struct.pack("<f", weight)),
        }
    )


def activate(loop: Loop, models: Models, bundle: Any) -> None:
    outcomes: list[Any] = []
    models.activate(bundle, 1, 60.0, outcomes.append)
    assert loop.run_until(lambda: bool(outcomes), 60)
    assert not isinstance(outcomes[0], Failure), outcomes


def answers_of(loop: Loop, models: Models, items: list[ModelInput]) -> list[Any]:
    answers: list[Any] = []
    for item in items:
        models.submit("leak", item, answers.append)
    assert loop.run_until(lambda: len(answers) == len(items), 60), answers
    return answers


def test_items_of_different_shapes_are_answered_in_order_each_with_its_own_shape(
    loop: Loop, models: Models, bundle: Any
) -> None:
    activate(loop, models, bundle)
    sizes = [(2, 3), (1, 1), (2, 3), (4, 2), (1, 1)]
    answers = answers_of(loop, models, [ask(*size, fill=number, weight=2.0) for number, size in enumerate(sizes)])
    for number, (size, answer) in enumerate(zip(sizes, answers, strict=True)):
        assert isinstance(answer, Answer), answer
        assert isinstance(answer.scores, TensorValue)
        assert (answer.scores.dtype, answer.scores.shape) == ("float32", (1, *size))
        assert list(answer.scores) == [2.0 * number] * (size[0] * size[1])
        assert len(answer.scores) == size[0] * size[1]


def test_an_item_whose_tensors_do_not_fit_costs_itself_alone(loop: Loop, models: Models, bundle: Any) -> None:
    activate(loop, models, bundle)
    good, weight = ask(2, 2), ask(2, 2).tensors["weight"]
    wrong = {
        "the model is asked with raw tensors, and 'weight' is not among them": ModelInput({"flow": [1.0]}, [0.0]),
        "the model is asked with raw tensors, and 'image' is not among them": ModelInput(tensors={"weight": weight}),
        "tensor 'image' is float64, the model takes float32": ModelInput(
            tensors={"weight": weight, "image": TensorValue("float64", (3, 1, 1), bytes(24))}
        ),
        "tensor 'image' has shape [1, 1, 1], the model takes [3, -1, -1]": ModelInput(
            tensors={"weight": weight, "image": TensorValue("float32", (1, 1, 1), bytes(4))}
        ),
        "tensor 'image' has 10 bytes, its shape takes 12": ModelInput(
            tensors={"weight": weight, "image": TensorValue("float32", (3, 1, 1), bytes(10))}
        ),
        "tensor 'image' has shape [3, 0, 1], the model takes [3, -1, -1]": ModelInput(
            tensors={"weight": weight, "image": TensorValue("float32", (3, 0, 1), b"")}
        ),
    }
    answers = answers_of(loop, models, [good, *wrong.values(), ask(2, 2)])
    assert answers[1:-1] == [Failure(Reason.WRONG_SHAPE, text) for text in wrong]
    assert [list(answer.scores) for answer in (answers[0], answers[-1])] == [[1.0] * 4] * 2


def test_an_output_that_is_not_finite_is_refused_for_its_item(loop: Loop, models: Models, bundle: Any) -> None:
    activate(loop, models, bundle)
    good, bad = answers_of(loop, models, [ask(1, 2), ask(1, 2, fill=float("nan"))])
    assert list(good.scores) == [1.0, 1.0]
    assert bad.reason is Reason.BAD_OUTPUT


def test_a_golden_tensor_with_another_answer_refuses_the_bundle(loop: Loop, models: Models, store: Any) -> None:
    path = store.incoming() / "part"
    outcomes: list[Any] = []
    models.test(store.add(path, write(path, [{**GOLDEN[0], "scores": [6.0, 9.0]}])), 1, 60.0, outcomes.append)
    assert loop.run_until(lambda: bool(outcomes), 60)
    assert outcomes == [Failure(Reason.GOLDEN_MISMATCH, "golden sample 0: score 1 is 8, expected 9 within 0.001")]


def start(loop: Loop, bundle: Any, settings: InferenceSettings) -> WorkerProcess:
    ended: list[Any] = []
    worker = WorkerProcess(loop, bundle, resolve(settings, "leak", "onnx"), lambda *_: None, lambda *event: ended.append(event))
    assert loop.run_until(lambda: worker.ready is not None or bool(ended), 60)
    assert not ended, ended
    return worker


def run(loop: Loop, worker: WorkerProcess, items: list[ModelInput]) -> list[Any]:
    answers: list[Any] = []
    worker.run(items, 60.0, answers.extend)
    assert loop.run_until(lambda: bool(answers), 60)
    return answers


def memfd_bytes(pid: int | str) -> int:
    """Allocated by the memory files that a process has open."""
    links = [path for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return sum(path.stat().st_blocks * 512 for path in links if os.readlink(path).startswith("/memfd:smallhold"))


def test_large_tensors_cross_by_memory_that_is_given_back_when_no_batch_comes(
    loop: Loop, settings: InferenceSettings, bundle: Any
) -> None:
    worker = start(loop, bundle, settings)
    image = np.random.default_rng(1).random((3, 640, 480), np.float32)
    item = ModelInput(
        tensors={
            "image": TensorValue("float32", image.shape, image.data.cast("B")),
            "weight": TensorValue("float32", (1, 1, 1), struct.pack("<f", 3)),
        }
    )
    got = run(loop, worker, [item, item])
    for scores in got:
        assert np.frombuffer(scores.data, np.float32).reshape(scores.shape) == pytest.approx(
            3 * image.mean(axis=0, keepdims=True), abs=1e-5
        )
    assert memfd_bytes(worker.pid) >= 2 * image.nbytes
    assert loop.run_until(lambda: memfd_bytes(worker.pid) == 0, 10)
    assert run(loop, worker, [item])[0].shape == (1, 640, 480)
    worker.stop()
    assert loop.run_until(lambda: worker.gone, 10)
    assert memfd_bytes("self") == 0


def test_a_batch_larger_than_a_frame_goes_in_pieces_and_an_item_larger_than_one_is_refused(
    loop: Loop, settings: InferenceSettings, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start(loop, bundle, settings)
    monkeypatch.setattr(protocol, "MAX_FRAME_BYTES", 20_000)
    got = run(loop, worker, [ask(10, 10, fill=number) for number in range(30)] + [ask(50, 50)])
    assert [scores[0] for scores in got[:30]] == [float(number) for number in range(30)]
    assert got[30].reason is Reason.TOO_LARGE
    assert "allowed are 20000" in got[30].detail
    worker.stop()
    assert loop.run_until(lambda: worker.gone, 10)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [protocol.TensorPart("", "float32", (1,), 8)],
        [protocol.TensorPart("", "float32", (2,), 4)],
        [protocol.TensorPart("", "string", (1,), 4)],
        [protocol.TensorPart("", "float32", (-1, -1), 4)],
    ],
)
def test_an_answer_whose_outputs_do_not_add_up_is_no_answer(outputs: list[protocol.TensorPart]) -> None:
    header = protocol.Scores(number=1, width=0, faults={}, outputs=outputs)
    with pytest.raises(protocol.ProtocolError):
        process.read_scores(header, bytes(4), 1)


def test_tensors_are_not_copied_on_their_way_into_the_frame() -> None:
    data = memoryview(bytes(64))
    item = ModelInput(tensors={"x": TensorValue("uint8", (64,), data)})
    request, body = run_request(1, None, [item, item])
    assert body[0] is data
    assert request.tensors == [[protocol.TensorPart("x", "uint8", (64,), 64)]] * 2
