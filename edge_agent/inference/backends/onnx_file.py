"""What an ONNX file may hold, checked on its bytes before the runtime sees them, without the `onnx` package.

An ONNX file is a protobuf `ModelProto`. Only the parts that can name an operator domain or refer to another file are walked;
the field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the wire format is
https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

from edge_agent.inference import protocol
from edge_agent.inference.backends.port import BackendError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Operator domains that ONNX Runtime itself implements and that models for devices use."""
REFUSED = ("EPContext", "Snpe")
"""Operators of these domains that hold compiled code for a device, or name a file with it."""
MAX_DEPTH = 64

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DOMAIN_FIELD = {"node": 7, "opset": 1}
_OPERATOR_FIELD = 4
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_onnx_file(model: bytes) -> None:
    """Raise BackendError: EXTERNAL_DATA, FOREIGN_OPERATOR (compiled code too), or MODEL_FILE_INVALID for bytes that are no
    ONNX file."""
    view = memoryview(model)
    pending = [("model", 0, len(view), 0)]
    graphs = 0
    while pending:
        kind, start, end, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise BackendError(protocol.MODEL_FILE_INVALID, f"the ONNX file is nested more than {MAX_DEPTH} levels deep")
        graphs += kind == "graph"
        children = _CHILDREN.get(kind, {})
        for field, wire, low, high in _fields(view, start, end):
            if wire == _BYTES and field in children:
                pending.append((children[field], low, high, depth + 1))
            elif wire == _BYTES and _DOMAIN_FIELD.get(kind) == field:
                domain = bytes(view[low:high]).decode("utf-8", "replace")
                if domain not in DOMAINS:
                    raise BackendError(protocol.FOREIGN_OPERATOR, f"the ONNX file uses operator domain {domain!r}")
            elif wire == _BYTES and kind == "node" and field == _OPERATOR_FIELD:
                operator = bytes(view[low:high]).decode("utf-8", "replace")
                if operator in REFUSED:
                    raise BackendError(protocol.FOREIGN_OPERATOR, f"the ONNX file uses {operator}, which is compiled code")
            elif kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and low == _EXTERNAL)):
                raise BackendError(protocol.EXTERNAL_DATA, "the ONNX file keeps tensors in another file (external data)")
    if not graphs:
        raise BackendError(protocol.MODEL_FILE_INVALID, "not an ONNX file: it holds no graph")


def _fields(view: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field, wire type, start, end) of each field of a message; for a varint `start` is its value."""
    while at < end:
        key, at = _varint(view, at, end)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(view, at, end)
            yield field, wire, value, 0
            continue
        if wire == _BYTES:
            size, at = _varint(view, at, end)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise BackendError(protocol.MODEL_FILE_INVALID, "not an ONNX file: it is no protobuf message")
        if at + size > end:
            raise BackendError(protocol.MODEL_FILE_INVALID, "not an ONNX file: it is cut off or no protobuf message")
        yield field, wire, at, at + size
        at += size


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BackendError(protocol.MODEL_FILE_INVALID, "not an ONNX file: it is cut off or no protobuf message")
