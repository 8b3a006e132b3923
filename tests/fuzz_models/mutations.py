"""The mutators: of bytes, of blocks of bytes, and of fields, which leave the file a protobuf message or a flatbuffer."""

import struct
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final

import flatbuffers
import onnx
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.descriptor import FieldDescriptor

from tests.fuzz import plain

KINDS: Final = ("bytes", "blocks", "structure")
"""Bytes and words set to something else; blocks of bytes dropped, doubled and moved; fields of the format changed."""
MAX_BYTES: Final = 200_000
CHANGES: Final = (1, 1, 1, 2, 3)
"""How many at once: mostly one, because most of them end the file at once."""
MAX_ATTEMPTS: Final = 100
"""Until a change is one that can be written, and is none that leaves the file as it was."""
INTEGERS: Final = (0, 1, 2, 3, 4, 7, 8, 64, 127, 128, 255, 1000, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**33, 2**62, 2**63 - 1)
FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e-40, float("inf"), float("nan"))
OPERATORS: Final = (
    *("Add", "ArgMax", "AveragePool", "Cast", "Compress", "Concat", "ConstantOfShape", "Conv", "CumSum", "DFT", "Einsum"),
    *("Expand", "Flatten", "Gather", "GatherND", "Gemm", "Identity", "If", "Loop", "LSTM", "MatMul", "MaxPool", "OneHot"),
    *("Pad", "Range", "ReduceMax", "Reshape", "Resize", "Scan", "ScatterElements", "ScatterND", "SequenceAt", "Slice"),
    *("Softmax", "SplitToSequence", "Sqrt", "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze", "Where"),
)
TEXTS: Final = (*OPERATORS, "", "features", "scores", "sum", "excess", "axis", "batch_dims", "com.microsoft", "ai.onnx.ml")
TOKENS: Final = (
    *(struct.pack("<i", number) for number in (0, 1, -1, 4, -4, 2**31 - 1, -(2**31), 65_536, 2**30)),
    *(b"\xff" * 9 + b"\x01", b"\x80" * 10, b"\xff\xff\xff\xff\x07", b"\x00", b"\x7f", b"\x80", b"\xff" * 8, b"\0" * 16),
    *(b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"TFL3", b"Loop", b"If"),
)


def mutate(random: Random, format_: str, kind: str, seed: bytes, corpus: list[bytes]) -> bytes:
    """A mutation of `seed` that is another file than it."""
    for _ in range(MAX_ATTEMPTS):
        if kind == "bytes":
            made = change_bytes(random, seed)
        elif kind == "blocks":
            made = plain.mutate(random, seed, corpus, TOKENS, MAX_BYTES)
        else:
            made = STRUCTURES[format_](random, seed)
        if made != seed:
            return made
    raise RuntimeError(f"no mutation of kind {kind} in {MAX_ATTEMPTS} attempts")


def change_bytes(random: Random, seed: bytes) -> bytes:
    """The file with a few of its bytes or words set to something else, each where it was."""
    data = bytearray(seed)
    for _ in range(random.choice(CHANGES)):
        place = random.randrange(len(data))
        choice = random.randrange(4)
        if choice == 0:
            data[place] = random.randrange(256)
        elif choice == 1:
            data[place] ^= 1 << random.randrange(8)
        elif choice == 2:
            data[place] = (data[place] + random.choice((-4, -2, -1, 1, 2, 4))) % 256
        else:
            token = random.choice(TOKENS)[: len(data) - place]
            data[place : place + len(token)] = token
    return bytes(data)


def change_onnx(random: Random, seed: bytes) -> bytes:
    """The ONNX file with some of its protobuf fields set to something else."""
    model = onnx.ModelProto.FromString(seed)
    for _ in range(random.choice(CHANGES)):
        messages = list(_messages(model))
        message = random.choice(messages)
        present = [field for field, _ in message.ListFields()]
        if not present or random.random() < 0.2:
            present = list(message.DESCRIPTOR.fields)
        field = random.choice(present)
        try:
            _change_field(random, message, field, messages)
        except (ValueError, TypeError, OverflowError):
            continue  # a value that this field cannot hold
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for child in value if hasattr(value, "extend") else (value,):
                yield from _messages(child)


def _change_field(random: Random, message: Any, field: Any, messages: list[Any]) -> None:
    value = getattr(message, field.name)
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    if not hasattr(value, "extend"):
        if is_message:
            _change_message(random, value, messages)
        else:
            setattr(message, field.name, _another(random, field))
        return
    place = random.randrange(len(value)) if len(value) else None
    choice = random.randrange(4)
    if choice == 0 and place is not None:
        del value[place]
    elif choice == 1 and place is not None:
        value.append(value[place])
    elif is_message:
        _change_message(random, value.add() if place is None else value[place], messages)
    elif place is None or choice == 2:
        value.append(_another(random, field))
    else:
        value[place] = _another(random, field)


def _change_message(random: Random, message: Any, messages: list[Any]) -> None:
    """Emptied, or what another message of its type is."""
    alike = [other for other in messages if other.DESCRIPTOR is message.DESCRIPTOR and other is not message]
    if alike and random.random() < 0.7:
        copied = type(message).FromString(random.choice(alike).SerializeToString())
        message.CopyFrom(copied)
    else:
        message.Clear()


def _another(random: Random, field: Any) -> Any:
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return random.choice(FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice((b"", *TOKENS, random.randbytes(random.randint(1, 64)), random.choice(OPERATORS).encode()))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return random.choice(TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return random.random() < 0.5
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return random.randrange(30)
    return random.choice(INTEGERS) * random.choice((1, 1, -1))


def change_tflite(random: Random, seed: bytes) -> bytes:
    """The TensorFlow Lite file with some fields of its tables set to something else, or some words of it moved."""
    if random.random() < 0.4:
        return _change_words(random, seed)
    model = schema.ModelT.InitFromPackedBuf(seed)
    for _ in range(random.choice(CHANGES)):
        table = random.choice(list(_tables(model)))
        name = random.choice(sorted(vars(table)))
        setattr(table, name, _another_field(random, getattr(table, name)))
    builder = flatbuffers.Builder(4096)
    try:
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error):
        return seed  # values that no such file can hold
    return bytes(builder.Output())


def _tables(table: Any) -> Iterator[Any]:
    yield table
    for value in vars(table).values():
        for child in value if isinstance(value, list) else (value,):
            if hasattr(child, "Pack"):
                yield from _tables(child)


def _another_field(random: Random, value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        changed = list(value)
        place = random.randrange(len(changed)) if changed else None
        choice = random.randrange(4)
        if place is None or hasattr(changed[place], "Pack"):
            if place is not None and choice == 0:
                del changed[place]
            elif place is not None:
                changed[place] = random.choice(changed)
        elif choice == 0:
            del changed[place]
        elif choice == 1:
            changed.insert(place, changed[place])
        else:
            changed[place] = _another_number(random, changed[place])
        return changed
    if isinstance(value, bytes | str):
        return random.choice(TEXTS)
    return None if hasattr(value, "Pack") else _another_number(random, value)


def _another_number(random: Random, value: Any) -> Any:
    if isinstance(value, float):
        return random.choice(FLOATS)
    if isinstance(value, bool):
        return not value
    near = (value or 0) + random.choice((-2, -1, 1, 2, 4))
    return random.choice((near, near, -1, random.randrange(160), random.choice(INTEGERS)))


def _change_words(random: Random, seed: bytes) -> bytes:
    """Offsets, vtables and lengths are words of four bytes, or two: some of them point elsewhere."""
    data = bytearray(seed)
    for _ in range(random.choice(CHANGES)):
        if random.random() < 0.7:
            place = random.randrange(len(data) // 4) * 4
            (word,) = struct.unpack_from("<i", data, place)
            moved = random.choice((word + 4, word - 4, word * 2, -word, random.randrange(len(data)), 2**31 - 1, -(2**31)))
            struct.pack_into("<I", data, place, moved % 2**32)
        else:
            place = random.randrange(len(data) // 2) * 2
            struct.pack_into("<H", data, place, random.choice((0, 2, 4, 6, 8, 32, 0x7FFF, 0xFFFF)))
    return bytes(data)


STRUCTURES: Final[Mapping[str, Callable[[Random, bytes], bytes]]] = {"onnx": change_onnx, "tflite": change_tflite}
"""Format to what changes a file's parts."""
