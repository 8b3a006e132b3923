"""The models that `inference` measures: each as a bundle, as the arrays of one inference, and as a question to a worker."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks import bench_world as world
from benchmarks import packages
from benchmarks.figures import FOLDER
from edge_agent.inference.answers import ModelInput, TensorValue

TOKENS: Final = 24
IMAGE_SIDE: Final = 320
_CACHE: Final = FOLDER / "models"

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """One of them."""

    name: str
    model: Path
    feeds: Feeds
    """Of one inference: input tensor's name to its values, with the batch in front."""
    output: str
    question: ModelInput
    """The same inference, as the daemon asks a worker."""
    bundle: Path
    """The tar."""


def mlp(folder: Path) -> Subject:
    """Four numbers of a window, a dense layer of sixteen, one score."""
    model = folder / "mlp.onnx"
    world.make_model(model)
    feeds: Feeds = {"features": np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)}
    question = ModelInput(values={"a": [1.0], "b": [2.0], "c": [3.0], "d": [4.0]}, times=[1.7e9])
    return Subject("mlp", model, feeds, "scores", question, world.make_bundle(folder, "mlp", model))


def text_encoder(folder: Path) -> Subject:
    """all-MiniLM-L6-v2 in int8, made once, asked about so many tokens."""
    from benchmarks import minilm

    model = _CACHE / "minilm-int8.onnx"
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        minilm.make_int8(model)
    ids = np.random.default_rng(1).integers(1000, 20000, (1, TOKENS))
    feeds: Feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return _tensors(folder, "text_encoder", model, feeds, "embedding", (-1, -1, minilm.HIDDEN))


def detector(folder: Path) -> Subject:
    """The text detector of rapidocr-onnxruntime on a small picture."""
    entry = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
    model = packages.extract("rapidocr_onnxruntime", entry, _CACHE / "detector.onnx")
    picture = np.random.default_rng(1).random((1, 3, IMAGE_SIDE, IMAGE_SIDE), np.float32)
    return _tensors(folder, "detector", model, {"x": picture}, "detection", (-1, 1, -1, -1))


def _tensors(folder: Path, name: str, model: Path, feeds: Feeds, task: str, given: tuple[int, ...]) -> Subject:
    """A model that is asked with raw tensors; sizes are free where the file leaves them free."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    output = session.get_outputs()[0].name
    scores = session.run([output], feeds)[0]
    values = {key: TensorValue(item.dtype.name, item.shape[1:], item.tobytes()) for key, item in feeds.items()}
    specs = []
    for item in session.get_inputs():
        shape = [-1, *(size if isinstance(size, int) else -1 for size in item.shape[1:])]
        specs.append(f'{{ name = "{item.name}", dtype = "{feeds[item.name].dtype.name}", shape = {shape} }}')
    golden = {
        "tensors": {
            key: {"dtype": item.dtype.name, "shape": list(item.shape[1:]), "values": item[0].tolist()}
            for key, item in feeds.items()
        },
        "scores": scores[0].reshape(-1).tolist(),
        "tolerance": 0.01,
    }
    manifest = (
        f'schema = 1\nname = "{name}"\nversion = "1.0.0"\ntask = "{task}"\nruntime = "onnx"\nfile = "model.onnx"\n'
        f'golden = "golden.json"\nkind = "tensor"\nlicence = "Apache-2.0"\ninput_tensors = [{", ".join(specs)}]\n'
        f'output_tensor = {{ name = "{output}", dtype = "float32", shape = {list(given)} }}\n'
    )
    bundle = world.write_bundle(folder, name, model, manifest, golden)
    return Subject(name, model, feeds, output, ModelInput(tensors=values), bundle)
