"""Text encoders through real workers: tokens by the bundle's tokenizer, then model, pooling and activation."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.bundle_store import open_bundle_file
from edge_agent.inference.evaluate import evaluate
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from fleet_contract.bundle import MAX_TOKENIZER_BYTES, BundleError
from fleet_contract.reasons import Reason

_spec = importlib.util.spec_from_file_location("inference_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
support = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(support)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "main", "leaks", "dry"]
TABLE = np.random.default_rng(3).normal(size=(len(WORDS), 4)).astype(np.float32)
TABLE[0] = 1000  # padding that reached an answer would be seen


def tokenizer() -> bytes:
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made.to_str().encode()


def encoder() -> bytes:
    """The row of each token in a table, and the token's type added to it."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    types = helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, ["batch", "tokens"])
    states = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "tokens", 4])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["token_type_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "last"], ["column"]),
        helper.make_node("Add", ["rows", "column"], ["states"]),
    ]
    constants = [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array([2], np.int64), "last")]
    graph = helper.make_graph(nodes, "encoder", [ids, types], [states], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


MANIFEST = """
schema = 1
name = "leak"
version = "1.0.0"
task = "embedding"
runtime = "onnx"
file = "model.bin"
golden = "golden.json"
tokenizer = "tokenizer.json"
kind = "text"
licence = "Apache-2.0"
tokens = { max_length = 6 }
input_tensors = [
  { name = "input_ids", dtype = "int64", shape = [-1, -1] },
  { name = "token_type_ids", dtype = "int64", shape = [-1, -1] },
]
output_tensor = { name = "states", dtype = "float32", shape = [-1, -1, 4] }
pooling = "mean"
"""


def expected(text: str) -> Any:
    words = ["[CLS]", *text.split()[:4], "[SEP]"]
    return TABLE[[WORDS.index(word) if word in WORDS else 1 for word in words]].mean(axis=0)


GOLDEN = [{"text": text, "scores": expected(text).tolist()} for text in ("the main leaks", "dry")]


def entries(extra: str = "", golden: Any = GOLDEN) -> dict[str, bytes]:
    return {
        "model.toml": (MANIFEST + extra).encode(),
        "model.bin": encoder(),
        "golden.json": json.dumps(golden).encode(),
        "tokenizer.json": tokenizer(),
    }


def add(store: Any, files: dict[str, bytes]) -> Any:
    path = store.incoming() / "part"
    return store.add(path, support.write_entries(path, files))


def activate(loop: Loop, models: Models, bundle: Any) -> Any:
    outcomes: list[Any] = []
    models.activate(bundle, 1, 60.0, outcomes.append)
    assert loop.run_until(lambda: bool(outcomes), 60)
    return outcomes[0]


def ask(loop: Loop, models: Models, items: list[ModelInput]) -> list[Any]:
    answers: list[Any] = []
    for item in items:
        models.submit("leak", item, answers.append)
    assert loop.run_until(lambda: len(answers) == len(items), 60), answers
    return answers


def test_texts_of_any_length_are_embedded_as_the_mean_of_their_own_tokens(loop: Loop, models: Models, store: Any) -> None:
    assert not isinstance(activate(loop, models, add(store, entries())), Failure)
    texts = ["the main leaks", "", "dry", "the the the the the the the main", "unheard of"]
    for text, answer in zip(texts, ask(loop, models, [ModelInput(text=text) for text in texts]), strict=True):
        assert isinstance(answer, Answer), answer
        assert answer.scores == pytest.approx(expected(text), abs=1e-5)


def test_a_window_is_no_text_and_costs_itself_alone(loop: Loop, models: Models, store: Any) -> None:
    activate(loop, models, add(store, entries()))
    text, window = ask(loop, models, [ModelInput(text="dry"), ModelInput({"flow": [1.0]}, [0.0])])
    assert text.scores == pytest.approx(expected("dry"), abs=1e-5)
    assert window == Failure(Reason.WRONG_SHAPE, "the model is asked about texts, and there is none")


def test_a_classifiers_scores_add_up_to_one_and_have_labels(loop: Loop, models: Models, store: Any) -> None:
    sums = np.exp(expected("dry") - expected("dry").max())
    golden = [{"text": "dry", "scores": (sums / sums.sum()).tolist()}]
    extra = 'activation = "softmax"\nlabels = ["a", "b", "c", "d"]\n'
    assert not isinstance(activate(loop, models, add(store, entries(extra, golden))), Failure)
    (answer,) = ask(loop, models, [ModelInput(text="the main")])
    assert sum(answer.scores) == pytest.approx(1, abs=1e-6)


def test_the_evaluation_of_a_bundle_uses_its_tokenizer(store: Any) -> None:
    bundle = add(store, entries("normalise = true\n", [{"text": "dry", "scores": [0.0] * 4, "tolerance": 1.0}]))
    result = evaluate(bundle, None, None, 0.01)
    assert (result.failed, result.golden) == (None, None)


def test_a_bundle_in_a_file_anywhere_brings_its_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "encoder.tar"
    support.write_entries(path, entries())
    result = evaluate(open_bundle_file(path), None, None, 0.01)
    assert (result.failed, result.golden, result.faults) == (None, None, ())


def test_a_damaged_tokenizer_refuses_the_bundle(loop: Loop, models: Models, store: Any) -> None:
    refused = activate(loop, models, add(store, {**entries(), "tokenizer.json": b'{"model": 1}'}))
    assert refused.reason is Reason.LOAD_FAILED
    assert refused.detail.startswith("the tokenizer could not be loaded")


def test_a_tokenizer_is_in_the_bundle_exactly_when_the_manifest_names_it(store: Any) -> None:
    files = entries()
    del files["tokenizer.json"]
    with pytest.raises(BundleError, match=r"'tokenizer.json', which the manifest names, is missing"):
        add(store, files)
    with pytest.raises(BundleError, match=r"'vocab.txt' is not named by the manifest"):
        add(store, {**entries(), "vocab.txt": b"a"})


def test_a_tokenizer_larger_than_allowed_is_refused_before_it_is_read(store: Any) -> None:
    with pytest.raises(BundleError, match="allowed are") as caught:
        add(store, {**entries(), "tokenizer.json": bytes(MAX_TOKENIZER_BYTES + 1)})
    assert caught.value.reason is Reason.BUNDLE_TOO_LARGE
