"""What a model is asked and what comes back, as the rest of the daemon sees it."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from fleet_contract.evaluation import DataSample
from fleet_contract.manifest import GoldenSample, Manifest
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason
from fleet_contract.tensors import CODES


@dataclass(frozen=True, slots=True)
class TensorValue(Sequence[float]):
    """One tensor of one item, without the batch. As a sequence it gives its elements, in C order."""

    dtype: str
    """As numpy names it."""
    shape: tuple[int, ...]
    data: bytes | memoryview
    """Little-endian, in C order."""

    def numbers(self) -> tuple[float, ...]:
        """All elements."""
        code = CODES[self.dtype]
        return struct.unpack(f"<{memoryview(self.data).nbytes // struct.calcsize('<' + code)}{code}", self.data)

    def __len__(self) -> int:
        return memoryview(self.data).nbytes // struct.calcsize("<" + CODES[self.dtype])

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        return self.numbers()[index]

    def __iter__(self) -> Iterator[float]:
        return iter(self.numbers())


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One window, one text or one set of tensors."""

    values: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Model input to its values, oldest first; None is a missing one."""
    times: Sequence[float] = ()
    """Event times in seconds since 1970."""
    text: str | None = None
    tensors: Mapping[str, TensorValue] = field(default_factory=dict)
    """Input tensor's name to its value, for a model of kind tensor."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and why."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Scores, and whose they are."""

    scores: Sequence[float]
    """Of a model of kind tensor a `TensorValue`."""
    model: ModelRef
    manifest: Manifest
    """With the labels, and what the model's maker recommends."""


Done = Callable[[Answer | Failure], object]
Scored = Sequence[float] | Failure
"""What a worker made of one item."""


def to_input(sample: GoldenSample | DataSample) -> ModelInput:
    """What the model is asked by a golden sample or a line of a data set."""
    tensors = {name: TensorValue(item.dtype, item.shape, item.data or b"") for name, item in sample.tensors.items()}
    return ModelInput(sample.window, sample.times, sample.text, tensors)
