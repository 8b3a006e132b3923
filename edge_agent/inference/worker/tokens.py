"""Texts become tokens, by the tokenizer that the bundle brings along (a `tokenizer.json` of the package `tokenizers`)."""

import os
from typing import Any

import numpy as np

from edge_agent.inference import protocol
from edge_agent.inference.backends.port import BackendError
from edge_agent.inference.protocol import Load, Run
from edge_agent.inference.worker.feeds import Faults, Group

_PADDING = ("[PAD]", "<pad>")
"""What the padding token is called, where the file does not say it."""


class TokenFeeds:
    """A tokenizer with the model's longest text. Raises BackendError when it cannot be loaded."""

    def __init__(self, load: Load, tokenizer: bytes) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendError(
                protocol.RUNTIME_MISSING, f"tokenizers cannot be imported ({error}); install the extra smallhold[text]"
            ) from error
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
            self._tokenizer.enable_truncation(load.max_tokens)
            said = self._tokenizer.padding or {}
            self._tokenizer.no_padding()
            self._padding = int(said.get("pad_id", _padding_token(self._tokenizer)))
            self._left = said.get("direction") == "left"
        except BaseException as error:
            if not _is_tokenizers_own(error):
                raise
            raise BackendError(protocol.LOAD_FAILED, f"the tokenizer could not be loaded: {error}") from error
        self._wanted = load.input_tensors

    def __call__(self, run: Run, body: bytes) -> "tuple[list[Group], Faults]":
        """One group of all the items that have a text, padded to the longest among them or to the file's own length."""
        faults: Faults = {}
        encodings: list[Any] = []
        kept: list[int] = []
        for position in range(len(run.lengths)):
            text = run.texts[position] if run.texts else None
            if text is None:
                faults[position] = (protocol.WRONG_SHAPE, "the model is asked about texts, and there is none")
                continue
            try:
                encoding = self._tokenizer.encode(text)
            except BaseException as error:
                if not _is_tokenizers_own(error):
                    raise
                faults[position] = (protocol.WRONG_SHAPE, f"the text cannot be cut into tokens: {error}")
                continue
            if not encoding.ids:
                faults[position] = (protocol.WRONG_SHAPE, "the text has no tokens")
                continue
            encodings.append(encoding)
            kept.append(position)
        return ([self._group(kept, encodings)] if kept else []), faults

    def _group(self, positions: "list[int]", encodings: "list[Any]") -> Group:
        sizes = [tensor.shape[1] for tensor in self._wanted]  # -1 where the length is free
        longest = max(*sizes, *(len(encoding.ids) for encoding in encodings))
        columns = {
            "input_ids": np.full((len(encodings), longest), self._padding, np.int64),
            "attention_mask": np.zeros((len(encodings), longest), np.int64),
            "token_type_ids": np.zeros((len(encodings), longest), np.int64),
        }
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            place = slice(longest - count, longest) if self._left else slice(count)
            columns["input_ids"][row, place] = encoding.ids
            columns["attention_mask"][row, place] = encoding.attention_mask
            columns["token_type_ids"][row, place] = encoding.type_ids
        feeds = {tensor.name: columns[tensor.name].astype(tensor.dtype, copy=False) for tensor in self._wanted}
        return Group(positions, feeds, columns["attention_mask"])


def _padding_token(tokenizer: Any) -> int:
    return next((found for found in map(tokenizer.token_to_id, _PADDING) if found is not None), 0)


def _is_tokenizers_own(error: BaseException) -> bool:
    """Whether an exception is the tokenizer's fault; a panic of its Rust code is no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
