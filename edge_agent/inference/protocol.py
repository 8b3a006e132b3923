"""Frames between the daemon and a worker: two lengths, a MessagePack header, raw float64 values. Nothing is pickled.

Both sides import this file, so it runs on Python 3.10 and knows neither numpy nor the contract.

    u32 header length | u32 body length | header | body          (little-endian)

| header | from | body |
|---|---|---|
| `Load` | daemon, once, first | |
| `Ready` or `Failed` | worker, once | |
| `Run` | daemon | values of every item and input in order, then the item's times; NaN is a missing value |
| `Scores` | worker, one for each `Run` | `count * width` scores; the rows of faulty items are to be ignored |
"""

import struct
from typing import Any

import msgspec

LENGTHS = struct.Struct("<II")
MAX_FRAME_BYTES = 256 * 1024 * 1024

# Reason codes of the contract that a worker gives. Its Python may be too old for the contract; a test keeps them equal.
HASH_MISMATCH = "hash_mismatch"
RUNTIME_MISSING = "runtime_missing"
MANIFEST_INVALID = "manifest_invalid"
MODEL_FILE_INVALID = "model_file_invalid"
INCOMPATIBLE = "incompatible"
LOAD_FAILED = "load_failed"
BAD_OUTPUT = "bad_output"
WRONG_SHAPE = "wrong_shape"
CODES = (
    HASH_MISMATCH,
    RUNTIME_MISSING,
    MANIFEST_INVALID,
    MODEL_FILE_INVALID,
    INCOMPATIBLE,
    LOAD_FAILED,
    BAD_OUTPUT,
    WRONG_SHAPE,
)


class ProtocolError(ValueError):
    """The other side sent something that is no frame; the connection is of no more use."""


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor as the manifest names it; the first dimension of the shape is the batch, -1 where it is free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """What to load: the bundle whole, where the model file's bytes lie in it, and what surrounds the model."""

    bundle: str
    """Path of the bundle's tar."""
    digest: str
    """SHA-256 that the tar must have, in hex."""
    offset: int
    size: int
    runtime: str
    runtime_min: str | None
    threads: int
    spin: bool = False
    require: tuple[str, ...] = ()
    """Execution providers, best first; empty is the CPU."""
    on_missing: str = "fail"
    """`fail` or `degrade`: what becomes of the model when none of `require` or `delegates` works."""
    delegates: tuple[str, ...] = ()
    inputs: tuple[str, ...]
    """Names of the window's inputs, in the order of `Run`."""
    features: tuple[dict[str, Any], ...]
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    input_tensors: tuple[TensorSpec, ...]
    output_tensor: TensorSpec


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The model is loaded. `digest` was computed over the very bytes that were loaded."""

    digest: str
    provider: str
    """The execution provider that really runs the model, or most of it."""
    placement: dict[str, float] = {}
    """Provider to its share of the model's nodes, 0 to 1."""
    degraded: str | None = None
    """Why the CPU runs a model that another provider was required for; None where nothing is missing."""
    sandbox: tuple[str, ...] = ()
    """What holds the worker beside its limits, as far as this kernel allows it."""
    runtime_version: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The model could not be loaded; the worker ends."""

    reason: str
    detail: str


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Score these items. `lengths` has, for each item, the number of values of each input and then of times."""

    number: int
    lengths: list[list[int]]
    texts: list[str | None] | None


class Scores(msgspec.Struct, frozen=True, kw_only=True, tag="scores"):
    """The answer to `Run` of the same number. `faults`: item position to reason code and text."""

    number: int
    width: int
    faults: dict[int, tuple[str, str]]


Header = Load | Ready | Failed | Run | Scores
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Load | Ready | Failed | Run | Scores)


def pack(header: Header, body: bytes = b"") -> bytes:
    """One frame."""
    head = _encoder.encode(header)
    return b"".join((LENGTHS.pack(len(head), len(body)), head, body))


class Reader:
    """Cuts a byte stream into frames: `feed` what was received, then iterate over `frames`."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def next(self) -> tuple[Header, bytes] | None:
        """The next whole frame, or None. Raises ProtocolError when the bytes are no frame."""
        if len(self._buffer) < LENGTHS.size:
            return None
        head, body = LENGTHS.unpack_from(self._buffer)
        end = LENGTHS.size + head + body
        if end > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {end} bytes")
        if len(self._buffer) < end:
            return None
        start = LENGTHS.size
        try:
            header = _decoder.decode(bytes(self._buffer[start : start + head]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"not a header: {error}") from error
        content = bytes(self._buffer[start + head : end])
        del self._buffer[:end]
        return header, content
