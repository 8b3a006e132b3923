"""The ways in which a model file is fed: features, tokens, raw tensors."""

import json
from typing import Any

import pytest

from fleet_contract.manifest import Manifest, ManifestError, parse_golden, parse_manifest

TENSOR: dict[str, str] = {
    "kind": '"tensor"',
    "input_tensors": '[{ name = "image", dtype = "float32", shape = [-1, 3, -1, -1] }]',
    "output_tensor": '{ name = "map", dtype = "float32", shape = [-1, 1, -1, -1] }',
}
TOKENS: dict[str, str] = {
    "kind": '"text"',
    "tokenizer": '"tokenizer.json"',
    "tokens": "{ max_length = 64 }",
    "input_tensors": '[{ name = "input_ids", dtype = "int64", shape = [-1, -1] }]',
    "output_tensor": '{ name = "states", dtype = "float32", shape = [-1, -1, 4] }',
    "pooling": '"mean"',
}
HEAD = """
schema = 1
name = "model"
version = "1.0.0"
task = "classification"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
licence = "Apache-2.0"
"""


def manifest(base: dict[str, str], **changes: str) -> Manifest:
    keys = {**base, **changes}
    return parse_manifest((HEAD + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)).encode())


def test_a_model_on_tensors_may_leave_sizes_free_on_both_sides() -> None:
    model = manifest(TENSOR)
    assert (model.width, [item.name for item in model.file_inputs]) == (None, ["image"])
    assert manifest(TENSOR, output_tensor='{ name = "p", dtype = "float32", shape = [-1, 2, 3] }').width == 6


def test_a_text_encoder_names_its_tokenizer_and_gives_the_pooled_width() -> None:
    model = manifest(TOKENS)
    assert (model.width, model.tokens.max_length, model.entries) == (4, 64, ("model.onnx", "golden.json", "tokenizer.json"))


IDS = '{ name = "input_ids", dtype = "int64", shape = [-1, -1] }'


@pytest.mark.parametrize(
    ("base", "changes", "text"),
    [
        (TENSOR, {"input_tensors": ""}, "input_tensor: either this or input_tensors is needed"),
        (TENSOR, {"input_tensor": '{ name = "x", dtype = "float32", shape = [-1, 1] }'}, "input_tensor: either"),
        (
            TENSOR,
            {"input_tensors": "", "input_tensor": '{ name = "x", dtype = "float32", shape = [-1, 1] }'},
            "input_tensor: a model of kind tensor",
        ),
        (TENSOR, {"input_tensors": f"[{IDS}, {IDS}]"}, "input_tensors: a name stands twice"),
        (TENSOR, {"input_tensors": f"[{IDS.replace('int64', 'string')}]"}, "input_tensors[0].dtype: 'string'"),
        (TENSOR, {"input_tensors": f"[{IDS.replace('-1, -1', '-1, 0')}]"}, "input_tensors[0].shape"),
        (TENSOR, {"inputs": '[{ name = "flow" }]'}, "inputs: a model of kind tensor has none"),
        (TENSOR, {"features": '[{ op = "hour" }]'}, "features: they and scaling fill input_tensor"),
        (TENSOR, {"tokenizer": '"tokenizer.json"'}, "tokenizer: needed by, and only by"),
        (TENSOR, {"pooling": '"mean"'}, "pooling: only a model with a tokenizer"),
        (TENSOR, {"labels": '["a"]'}, "output_tensor.shape: a free number of scores, but 1 labels"),
        (TENSOR, {"kind": '"window"', "inputs": '[{ name = "flow" }]'}, "input_tensors: a model on windows"),
        (TOKENS, {"tokenizer": ""}, "tokenizer: needed by, and only by"),
        (TOKENS, {"tokenizer": '"golden.json"'}, "tokenizer: 'golden.json' is another entry already"),
        (TOKENS, {"tokenizer": '"../t.json"'}, "tokenizer: '../t.json' is not a plain file name"),
        (TOKENS, {"tokens": "{ max_length = 0 }"}, "tokens.max_length"),
        (TOKENS, {"input_tensors": f"[{IDS.replace('input_ids', 'ids')}]"}, "input_tensors: a tokenizer fills input_ids"),
        (TOKENS, {"input_tensors": f"[{IDS}, {IDS.replace('input_ids', 'position_ids')}]"}, "input_tensors: a tokenizer fills"),
        (TOKENS, {"input_tensors": f"[{IDS.replace('-1, -1', '-1, 32')}]"}, "input_tensors[0].shape: batch and tokens"),
        (TOKENS, {"input_tensors": f"[{IDS.replace('int64', 'float32')}]"}, "input_tensors[0].dtype: tokens are"),
        (TOKENS, {"pooling": ""}, "output_tensor.shape: behind the batch fixed positive sizes"),
        (
            TOKENS,
            {"output_tensor": '{ name = "states", dtype = "float32", shape = [-1, -1, -1] }'},
            "output_tensor.shape: pooling takes",
        ),
        (TOKENS, {"output_tensor": '{ name = "s", dtype = "float32", shape = [-1, 4] }'}, "output_tensor.shape: pooling takes"),
        (TOKENS, {"activation": '"relu"'}, "model.toml: "),
    ],
)
def test_inputs_that_contradict_each_other_are_refused_by_key(base: dict[str, str], changes: dict[str, str], text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest(base, **changes)
    assert str(caught.value).startswith(text)


IMAGE: dict[str, Any] = {"dtype": "float32", "shape": [3, 1, 2], "values": [[[1, 2]], [[3, 4]], [[5, 6]]]}


def test_golden_tensors_are_read_and_may_have_any_number_of_scores() -> None:
    rows = [{"tensors": {"image": IMAGE}, "scores": [0.1, 0.2]}, {"tensors": {"image": IMAGE}, "scores": [0.5]}]
    first, second = parse_golden(json.dumps(rows).encode(), manifest(TENSOR))
    assert first.tensors["image"].shape == (3, 1, 2)
    assert (first.scores, second.scores) == ((0.1, 0.2), (0.5,))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"tensors": {}, "scores": [1]}, "golden.json[0].tensors: needs exactly image"),
        ({"tensors": {"picture": IMAGE}, "scores": [1]}, "golden.json[0].tensors: needs exactly image"),
        ({"tensors": {"image": IMAGE}, "text": "a", "scores": [1]}, "golden.json[0].tensors: needs exactly image"),
        ({"tensors": {"image": {**IMAGE, "dtype": "float64"}}, "scores": [1]}, "golden.json[0].tensors.image: is float64"),
        ({"tensors": {"image": {**IMAGE, "shape": [3, 2], "values": [[1, 2]] * 3}}, "scores": [1]}, "tensors.image: has shape"),
        ({"tensors": {"image": {**IMAGE, "shape": [3, 2, 2]}}, "scores": [1]}, "not nested"),
        ({"tensors": {"image": IMAGE}, "scores": []}, "golden.json[0].scores: 0"),
    ],
)
def test_golden_tensors_that_do_not_fit_are_refused(row: dict[str, Any], text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_golden(json.dumps([row]).encode(), manifest(TENSOR))
    assert text in str(caught.value)
