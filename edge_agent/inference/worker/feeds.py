"""From what a worker is asked to what the model file takes: the step that differs between windows, texts and tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_agent.inference.protocol import Run

Faults = dict[int, tuple[str, str]]
"""Position of an item in the batch to reason code and text."""


@dataclass(frozen=True)
class Group:
    """Items that the model takes together."""

    positions: list[int]
    """Of the items in the batch."""
    feeds: dict[str, NDArray[Any]]
    """Input tensor's name to its values, shape (items, *the tensor's own)."""
    mask: NDArray[Any] | None = None
    """Of texts: 1 for a token and 0 for padding, shape (items, tokens)."""

    def __len__(self) -> int:
        return len(self.positions)

    def single(self, row: int) -> "Group":
        """The item in this row alone."""
        feeds = {name: values[row : row + 1] for name, values in self.feeds.items()}
        return Group([self.positions[row]], feeds, None if self.mask is None else self.mask[row : row + 1])


ToFeeds = Callable[[Run, bytes], "tuple[list[Group], Faults]"]
"""The items of a batch in groups, and what is wrong with the others."""
