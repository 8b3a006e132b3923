"""The delegates of TensorFlow Lite: the libraries behind the names, and which operators one has taken. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DELEGATES: Mapping[str, str] = {
    "edgetpu": "libedgetpu.so.1",
    "gpu": "libtensorflowlite_gpu_delegate.so",
}
"""A name as `delegates` has it to the library that the loader looks for; an absolute path is a library itself."""
XNNPACK = "XNNPACK"
CPU = "CPU"
BOOKKEEPING = frozenset(
    (
        *("CAST", "CONCATENATION", "DEQUANTIZE", "EXPAND_DIMS", "GATHER", "PACK", "QUANTIZE", "RESHAPE", "SHAPE"),
        *("SLICE", "SPLIT", "SQUEEZE", "STRIDED_SLICE", "UNPACK"),
    )
)
"""Operators that make, cut, join and convert tensors: they do not say whether a delegate runs the model."""
_DELEGATE = "DELEGATE"


@dataclass(frozen=True)
class Operator:
    """One step of the interpreter; tensors by number."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]


def library_of(name: str) -> str | None:
    """What to load for a delegate of the configuration; None for a name that is none."""
    return name if name.startswith("/") else DELEGATES.get(name)


def taken_by_delegates(operators: Iterable[Operator]) -> set[int]:
    """Positions of the operators that run inside a delegate.

    The interpreter lists the operators of the file and, after them, one `DELEGATE` for each part that was replaced. What such
    a part holds lies between its outputs and its inputs.
    """
    steps = list(operators)
    makers = {tensor: position for position, step in enumerate(steps) if not _is_delegate(step) for tensor in step.outputs}
    taken: set[int] = set()
    for step in steps:
        if not _is_delegate(step):
            continue
        given, pending = set(step.inputs), list(step.outputs)
        while pending:
            tensor = pending.pop()
            position = makers.get(tensor)
            if tensor not in given and position is not None and position not in taken:
                taken.add(position)
                pending += steps[position].inputs
    return taken


def placed(operators: Iterable[Operator], delegate: str | None, by_delegate: set[int]) -> list[tuple[str, str]]:
    """(where it runs, operator) of each operator of the file.

    `by_delegate` are the positions that `delegate` had taken before the interpreter applied its own, which is XNNPACK.
    """
    steps = list(operators)
    taken = taken_by_delegates(steps)
    nodes = []
    for position, step in enumerate(steps):
        if _is_delegate(step):
            continue
        where = CPU
        if position in taken:
            where = delegate if delegate is not None and position in by_delegate else XNNPACK
        nodes.append((where, step.name))
    return nodes


def _is_delegate(step: Operator) -> bool:
    return _DELEGATE in step.name.upper()
