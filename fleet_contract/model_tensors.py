"""The tensors of a model file, as the manifest has to name them."""

from typing import Final

from fleet_contract.manifest_record import ManifestError, Record
from fleet_contract.tensors import CODES, MAX_DIMENSIONS

TOKEN_TENSORS: Final = ("input_ids", "attention_mask", "token_type_ids")
"""What a tokenizer can fill; a text encoder's file has the first and may have the others."""


class Tensor(Record, frozen=True, kw_only=True):
    """A tensor of the model file. The first dimension is always the batch; -1 is a free size."""

    name: str
    dtype: str
    """As numpy names it: `float32`, `int8`, `int64`."""
    shape: tuple[int, ...]
    unit: str | None = None
    """SenML unit of its numbers; the output of a regression needs it."""


class Tokens(Record, frozen=True, kw_only=True):
    """How texts are cut for a text encoder."""

    max_length: int = 128
    """Tokens of one text, the special ones included; what is behind is left out."""


def check_tensor(key: str, tensor: Tensor, *, free: bool) -> None:
    """Raise ManifestError for a dtype that is not known or sizes that cannot be; `free`: sizes behind the batch may be -1."""
    if tensor.dtype not in CODES:
        raise ManifestError(f"{key}.dtype: {tensor.dtype!r} is none of {', '.join(CODES)}")
    if not 2 <= len(tensor.shape) <= MAX_DIMENSIONS + 1:
        raise ManifestError(f"{key}.shape: a batch dimension and 1 to {MAX_DIMENSIONS} dimensions behind it")
    if any(size < 1 and not (free and size == -1) for size in tensor.shape[1:]):
        sizes = "positive sizes, or -1 where free" if free else "fixed positive sizes"
        raise ManifestError(f"{key}.shape: behind the batch {sizes}")
    if tensor.unit is not None and not tensor.unit.strip():
        raise ManifestError(f"{key}.unit: a SenML unit, or the key is left out")
