import json
import sys
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from edge_agent.inference import protocol
from edge_agent.inference.backends.port import BackendError
from edge_agent.inference.protocol import Load, Run, TensorSpec
from edge_agent.inference.worker.tokens import TokenFeeds

WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "the": 4, "main": 5, "leaks": 6}
NAMES = ("input_ids", "attention_mask", "token_type_ids")


def tokenizer(special: bool = True) -> Tokenizer:
    made = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    if special:
        made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return made


def feeds(data: bytes, names: tuple[str, ...] = NAMES, length: int = -1, dtype: str = "int64", most: int = 8) -> TokenFeeds:
    load = Load(
        bundle="",
        digest="",
        offset=0,
        size=0,
        tokenizer=(0, len(data)),
        max_tokens=most,
        runtime="onnx",
        runtime_min=None,
        threads=1,
        inputs=(),
        features=(),
        mean=None,
        scale=None,
        input_tensors=tuple(TensorSpec(name, dtype, (-1, length)) for name in names),
        output_tensor=TensorSpec("y", "float32", (-1, 1)),
    )
    return TokenFeeds(load, data)


def ask(*texts: str | None) -> Run:
    return Run(number=1, lengths=[[0]] * len(texts), texts=list(texts))


def written(made: Tokenizer) -> bytes:
    return made.to_str().encode()


def test_texts_are_padded_to_the_longest_of_the_batch() -> None:
    (group,), faults = feeds(written(tokenizer()))(ask("leaks", "the main leaks"), b"")
    assert faults == {}
    assert group.feeds["input_ids"].tolist() == [[1, 6, 2, 3, 3], [1, 4, 5, 6, 2]]
    assert group.feeds["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert group.feeds["token_type_ids"].tolist() == [[0] * 5] * 2
    assert group.mask is not None
    assert group.mask.tolist() == group.feeds["attention_mask"].tolist()


def test_a_long_text_is_cut_and_keeps_its_special_tokens() -> None:
    (group,), _ = feeds(written(tokenizer()), most=4)(ask("the main leaks the main"), b"")
    assert group.feeds["input_ids"].tolist() == [[1, 4, 5, 2]]


def test_a_file_of_fixed_length_gets_it_and_only_the_tensors_that_it_has() -> None:
    (group,), _ = feeds(written(tokenizer()), names=("input_ids",), length=6, dtype="int32", most=6)(ask("leaks"), b"")
    assert list(group.feeds) == ["input_ids"]
    assert group.feeds["input_ids"].dtype == np.int32
    assert group.feeds["input_ids"].tolist() == [[1, 6, 2, 3, 3, 3]]


def test_the_padding_that_the_file_asks_for_is_used() -> None:
    made = tokenizer()
    made.enable_padding(direction="left", pad_id=9, pad_token="[X]", length=100)
    (group,), _ = feeds(written(made))(ask("leaks", "the main leaks"), b"")
    assert group.feeds["input_ids"].tolist() == [[9, 9, 1, 6, 2], [1, 4, 5, 6, 2]]
    assert group.feeds["attention_mask"].tolist() == [[0, 0, 1, 1, 1], [1] * 5]


def test_a_text_that_gives_nothing_costs_itself_alone() -> None:
    (group,), faults = feeds(written(tokenizer(special=False)))(ask("leaks", "", None, "a\ud800b", "main"), b"")
    assert group.positions == [0, 4]
    assert {position: code for position, (code, _) in faults.items()} == dict.fromkeys((1, 2, 3), protocol.WRONG_SHAPE)
    assert [faults[position][1] for position in (1, 2)] == [
        "the text has no tokens",
        "the model is asked about texts, and there is none",
    ]
    assert feeds(written(tokenizer()))(Run(number=1, lengths=[[0]], texts=None), b"")[0] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"model": ' * 10_000,
        json.dumps({"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": -1}, "unk_token": "a"}}).encode(),
        json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}).encode(),
    ],
    ids=["empty", "not utf-8", "no model", "deep", "deeper", "negative", "merges"],
)
def test_bytes_that_are_no_tokenizer_are_refused(data: bytes) -> None:
    with pytest.raises(BackendError, match="the tokenizer could not be loaded") as caught:
        feeds(data)
    assert caught.value.reason == protocol.LOAD_FAILED


def test_a_tokenizer_damaged_anywhere_loads_or_is_refused_and_nothing_else() -> None:
    data = written(tokenizer())
    refused = 0
    for at in range(0, len(data), 5):
        try:
            feeds(data[:at] + b"9" + data[at + 1 :])(ask("the main leaks"), b"")
        except BackendError:
            refused += 1
    assert refused > 10


def test_a_panic_of_the_tokenizer_is_a_fault_of_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """What pyo3 raises: not an Exception."""

    class Panicking:
        def encode(self, text: str) -> Any:
            if text == "stop":
                raise KeyboardInterrupt
            raise PanicException("index out of bounds")

    made = feeds(written(tokenizer()))
    monkeypatch.setattr(made, "_tokenizer", Panicking())
    assert made(ask("leaks"), b"") == ([], {0: ("wrong_shape", "the text cannot be cut into tokens: index out of bounds")})
    with pytest.raises(KeyboardInterrupt):
        made(ask("stop"), b"")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BackendError, match=r"install the extra smallhold\[text\]") as caught:
        feeds(b"{}")
    assert caught.value.reason == protocol.RUNTIME_MISSING
