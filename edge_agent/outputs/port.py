"""What the engine asks of the outputs."""

from collections.abc import Callable, Mapping
from typing import Protocol

from edge_agent.journal.batch import Batch
from fleet_contract.messages import Result

Units = Callable[[], Mapping[str, str | None]]
"""The unit of each reading of a window, worked out where it is asked for."""


class ResultOutputs(Protocol):
    """Adds to a commit what is published of a result on the site broker."""

    def add(self, result: Result, payload: bytes, units: Units, batch: Batch, *, urgent: bool) -> None:
        """`payload` is the result message; `urgent`: it raises or clears an alarm."""
