"""Frames between the daemon and a worker: two lengths, a MessagePack header, raw values. Nothing is pickled.

Both sides import this file, so it runs on Python 3.10 and knows neither numpy nor the contract.

    u32 header length | u32 body length | header | body          (little-endian)

A body of `SHARE_BYTES` or more does not stand there: it lies in the memory that both sides share (`shared_memory.py`), and the
highest bit of its length says so.

| header | from | body |
|---|---|---|
| `Load` | daemon, once, first | |
| `Ready` or `Failed` | worker, once | |
| `Run` | daemon | values of every item and input in order, then the item's times; or the items' tensors |
| `Scores` | worker, one for each `Run` | `count * width` scores; or the items' outputs |

Values, times and scores are float64. NaN is a missing value; the rows of faulty items are to be ignored.
"""

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

LENGTHS = struct.Struct("<II")
CANCEL = struct.Struct("<I")
"""On a pipe of its own: the number of the `Run` that is to end."""
MAX_FRAME_BYTES = 256 * 1024 * 1024
SHARE_BYTES = 16 * 1024
"""Measured round trips by the socket and by shared memory: 80 and 76 µs with 4 KB, 92 and 78 with 16 KB, 3.0 and 0.2 ms with
1 MB, 28 and 2 ms with 8 MB."""
_SHARED = 1 << 31

# Reason codes of the contract that a worker gives. Its Python may be too old for the contract; a test keeps them equal.
HASH_MISMATCH = "hash_mismatch"
RUNTIME_MISSING = "runtime_missing"
MANIFEST_INVALID = "manifest_invalid"
TENSOR_MISMATCH = "tensor_mismatch"
MODEL_FILE_INVALID = "model_file_invalid"
EXTERNAL_DATA = "external_data"
FOREIGN_OPERATOR = "foreign_operator"
INCOMPATIBLE = "incompatible"
PROVIDER_MISSING = "provider_missing"
LOAD_FAILED = "load_failed"
BAD_OUTPUT = "bad_output"
WRONG_SHAPE = "wrong_shape"
DEADLINE_EXCEEDED = "deadline_exceeded"
CODES = (
    HASH_MISMATCH,
    RUNTIME_MISSING,
    MANIFEST_INVALID,
    TENSOR_MISMATCH,
    MODEL_FILE_INVALID,
    EXTERNAL_DATA,
    FOREIGN_OPERATOR,
    INCOMPATIBLE,
    PROVIDER_MISSING,
    LOAD_FAILED,
    BAD_OUTPUT,
    WRONG_SHAPE,
    DEADLINE_EXCEEDED,
)


class ProtocolError(ValueError):
    """The other side sent something that is no frame; the connection is of no more use."""


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor as the manifest names it; the first dimension of the shape is the batch, -1 where it is free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class TensorPart(msgspec.Struct, frozen=True, array_like=True):
    """A piece of the body that is one tensor of one item: little-endian, in C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Without the batch."""
    size: int
    """Bytes in the body."""


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """What to load: the bundle whole, where the model file's bytes lie in it, and what surrounds the model."""

    bundle: str
    """Path of the bundle's tar."""
    digest: str
    """SHA-256 that the tar must have, in hex."""
    offset: int
    size: int
    tokenizer: tuple[int, int] | None = None
    """Offset and size of the tokenizer's file in the tar."""
    max_tokens: int = 0
    runtime: str
    runtime_min: str | None
    runtime_max: str | None = None
    threads: int
    spin: bool = False
    require: tuple[str, ...] = ()
    """Execution providers, best first; empty is the CPU."""
    on_missing: str = "fail"
    """`fail` or `degrade`: what becomes of the model when none of `require` or `delegates` works."""
    engine_cache: str | None = None
    """A folder of this model's own that a provider may keep what it compiles in; None: it compiles at each start."""
    cpu_seconds: int = 0
    """CPU time that the worker has from here on; answers renew it; 0 is no limit."""
    delegates: tuple[str, ...] = ()
    inputs: tuple[str, ...]
    """Names of the window's inputs, in the order of `Run`."""
    features: tuple[dict[str, Any], ...]
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    input_tensors: tuple[TensorSpec, ...]
    output_tensor: TensorSpec
    pooling: str = "none"
    activation: str = "none"
    normalise: bool = False


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
    """What of the sandbox is in force, in the words of `worker/sandbox.py`."""
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
    tensors: list[list[TensorPart]] | None = None
    """For each item its tensors, in the order in which they stand in the body; then the body holds nothing else."""


class Scores(msgspec.Struct, frozen=True, kw_only=True, tag="scores"):
    """The answer to `Run` of the same number. `faults`: item position to reason code and text."""

    number: int
    width: int
    faults: dict[int, tuple[str, str]]
    seconds: float = 0.0
    """That the worker needed."""
    outputs: list[TensorPart] | None = None
    """For each item its output, in the order in which they stand in the body, instead of rows of `width`; of a model that is
    asked with tensors. A faulty item has one of no bytes."""


Header = Load | Ready | Failed | Run | Scores
Buffer = bytes | bytearray | memoryview
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Load | Ready | Failed | Run | Scores)


class BodyStore(Protocol):
    """Memory that both sides see; it holds one body at a time."""

    def write(self, parts: Sequence[Buffer]) -> bool:
        """Put a body there, one part behind the other; False when there is no memory for it."""

    def read(self, size: int) -> bytes:
        """The body of this size; raises ProtocolError when it is not there."""


def pack(header: Header, body: Sequence[Buffer] = (), store: BodyStore | None = None) -> bytes:
    """One frame, its body given in parts; a large one is left in `store`, if there is one."""
    head = _encoder.encode(header)
    size = sum(memoryview(part).nbytes for part in body)
    if LENGTHS.size + len(head) + size > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame of {LENGTHS.size + len(head) + size} bytes, allowed are {MAX_FRAME_BYTES}")
    if store is not None and size >= SHARE_BYTES and store.write(body):
        return b"".join((LENGTHS.pack(len(head), size | _SHARED), head))
    return b"".join((LENGTHS.pack(len(head), size), head, *body))


class Reader:
    """Cuts a byte stream into frames: `feed` what was received, then iterate over `frames`."""

    def __init__(self, store: BodyStore | None = None) -> None:
        self._buffer = bytearray()
        self._store = store

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def next(self) -> tuple[Header, bytes] | None:
        """The next whole frame, or None. Raises ProtocolError when the bytes are no frame."""
        if len(self._buffer) < LENGTHS.size:
            return None
        head, body = LENGTHS.unpack_from(self._buffer)
        shared = self._store if body & _SHARED else None
        size = body & ~_SHARED if shared is not None else body
        if LENGTHS.size + head + size > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {LENGTHS.size + head + size} bytes")
        start = LENGTHS.size + head
        end = start if shared is not None else start + size
        if len(self._buffer) < end:
            return None
        try:
            header = _decoder.decode(bytes(self._buffer[LENGTHS.size : start]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"not a header: {error}") from error
        content = bytes(self._buffer[start:end]) if shared is None else shared.read(size)
        del self._buffer[:end]
        return header, content
