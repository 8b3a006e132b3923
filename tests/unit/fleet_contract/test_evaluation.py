from typing import Any

import msgspec
import pytest

from fleet_contract.evaluation import DataSetError, parse_data_set
from fleet_contract.manifest import Feature, InputKind, Manifest, Runtime, Tensor, WindowInput


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        schema=1,
        name="leak",
        version="1.0.0",
        task="classification",
        runtime=Runtime.ONNX,
        file="leak.onnx",
        golden="golden.json",
        kind=InputKind.WINDOW,
        inputs=(WindowInput(name="flow"),),
        features=(Feature(op="last", input="flow"),),
        input_tensor=Tensor(name="x", dtype="float32", shape=(-1, 1)),
        output_tensor=Tensor(name="y", dtype="float32", shape=(-1, 2)),
        labels=("normal", "leak"),
        licence="Apache-2.0",
    )
    return msgspec.structs.replace(made, **changes)


def test_samples_are_read_with_blank_lines_and_keys_of_others_left_out() -> None:
    first, second = parse_data_set(
        b'{"window": {"flow": [1, null]}, "times": [0, 60], "label": "leak", "meter": 7}\n\n'
        b'{"window": {"flow": [2]}, "scores": [0.25, 0.75]}',
        manifest(),
        "d.jsonl",
    )
    assert (first.window, first.times, first.label) == ({"flow": (1.0, None)}, (0.0, 60.0), "leak")
    assert second.scores == (0.25, 0.75)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"{", "line 2: Input data was truncated"),
        (b'{"window": {"flow": "x"}}', r"line 2: Expected `array`.*window"),
        (b'{"text": "a leak"}', "line 2: window: needs exactly flow"),
        (b'{"window": {"flow": [1]}, "label": "flood"}', "line 2: label: 'flood' is none of normal, leak"),
        (b'{"window": {"flow": [1]}, "label": "none"}', "line 2: label: 'none' is none of"),
        (b'{"window": {"flow": [1]}, "scores": [1.0]}', "line 2: scores: 1, but the model gives 2"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: bytes, text: str) -> None:
    with pytest.raises(DataSetError, match=rf"^d\.jsonl, {text}"):
        parse_data_set(b'{"window": {"flow": [1]}}\n' + line, manifest(), "d.jsonl")


def test_a_model_with_a_single_label_knows_a_no() -> None:
    single = manifest(labels=("leak",), output_tensor=Tensor(name="y", dtype="float32", shape=(-1, 1)))
    (sample,) = parse_data_set(b'{"window": {"flow": [1]}, "label": "none"}', single, "d")
    assert sample.label == "none"


def test_a_text_model_wants_texts_and_an_empty_file_is_no_data_set() -> None:
    texts = manifest(kind=InputKind.TEXT, inputs=())
    with pytest.raises(DataSetError, match="is asked about texts"):
        parse_data_set(b'{"window": {"flow": [1]}}', texts, "d")
    with pytest.raises(DataSetError, match=r"^d: no sample in it"):
        parse_data_set(b"\n", texts, "d")


def test_a_model_without_labels_takes_any_label() -> None:
    encoder = manifest(labels=())
    (sample,) = parse_data_set(b'{"window": {"flow": [1]}, "label": "anything"}', encoder, "d")
    assert sample.label == "anything"
