from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.messages import EventsRef, Outcome, Result, WindowRef


@pytest.fixture
def result() -> Callable[..., Result]:
    """`result(outcome, **other fields)`: a result of pipeline `p` and sensor `north`."""

    def make(outcome: Outcome | None = None, **more: Any) -> Result:
        fields: dict[str, Any] = {
            "result_id": "r1",
            "pipeline": "p",
            "source": "north",
            "time": "2026-01-01T00:00:00Z",
            "outcome": outcome or Outcome(),
            "window": WindowRef(kind="count", start=None, end=None, count=1),
            "events": EventsRef(count=1, ids=("e",)),
        }
        return Result(**(fields | more))

    return make
