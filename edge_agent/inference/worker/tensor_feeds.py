"""Raw tensors, checked against what the model takes; items of one shape are run together."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.protocol import Load, Run, TensorPart, TensorSpec
from edge_agent.inference.worker.feeds import Faults, Group


class TensorFeeds:
    """The tensors of a model that is asked by their names."""

    def __init__(self, load: Load) -> None:
        self._wanted = load.input_tensors

    def __call__(self, run: Run, body: bytes) -> tuple[list[Group], Faults]:
        """A group for each set of shapes among the items."""
        faults: Faults = {}
        alike: dict[Any, list[tuple[int, dict[str, NDArray[Any]]]]] = {}
        at = 0
        for position, parts in enumerate(run.tensors if run.tensors is not None else [[] for _ in run.lengths]):
            given: dict[str, tuple[TensorPart, int]] = {}
            for part in parts:
                given[part.name] = part, at
                at += part.size
            wrong = next((text for text in (_misfit(spec, given.get(spec.name)) for spec in self._wanted) if text), None)
            if wrong is not None:
                faults[position] = (protocol.WRONG_SHAPE, wrong)
                continue
            arrays = {spec.name: _array(body, *given[spec.name]) for spec in self._wanted}
            alike.setdefault(tuple(array.shape for array in arrays.values()), []).append((position, arrays))
        groups = []
        for items in alike.values():
            feeds = {spec.name: _stack([arrays[spec.name] for _, arrays in items]) for spec in self._wanted}
            groups.append(Group([position for position, _ in items], feeds))
        return groups, faults


def _misfit(spec: TensorSpec, given: "tuple[TensorPart, int] | None") -> str | None:
    """Why a tensor of one item cannot be given to the model, or None."""
    if given is None:
        return f"the model is asked with raw tensors, and {spec.name!r} is not among them"
    part, own = given[0], spec.shape[1:]
    if part.dtype != spec.dtype:
        return f"tensor {spec.name!r} is {part.dtype}, the model takes {spec.dtype}"
    fits = len(part.shape) == len(own) and all(want in (-1, size) for size, want in zip(part.shape, own))  # noqa: B905
    if not fits or any(size < 1 for size in part.shape):
        return f"tensor {spec.name!r} has shape {list(part.shape)}, the model takes {list(own)}"
    size = math.prod(part.shape) * np.dtype(part.dtype).itemsize
    if part.size != size:
        return f"tensor {spec.name!r} has {part.size} bytes, its shape takes {size}"
    return None


def _array(body: bytes, part: TensorPart, at: int) -> NDArray[Any]:
    dtype = np.dtype(part.dtype).newbyteorder("<")
    return np.frombuffer(body, dtype, math.prod(part.shape), at).reshape(part.shape)


def _stack(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """With the batch in front; a single item is not copied unless it lies at an odd place."""
    if len(arrays) > 1:
        return np.stack(arrays)
    alone: NDArray[Any] = np.require(arrays[0][np.newaxis], requirements="A")
    return alone
