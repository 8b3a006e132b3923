"""Says when the device's clock is not believed: a board without a battery clock boots in 1970, and goes on working."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from edge_agent.updates.ports import NoteWriter
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason


class ClockWatch:
    """Main thread only. Writes one note when the clock is found behind, and one when it is right again."""

    def __init__(self, note: NoteWriter, last_time: Callable[[], float], clock: Callable[[], float] = time.time) -> None:
        """`last_time()`: a clock before it (seconds since 1970) is wrong."""
        self._note = note
        self._last_time = last_time
        self._clock = clock
        self._told = False

    @property
    def behind(self) -> float | None:
        """Seconds; None while the clock is believed."""
        seconds = self._last_time() - self._clock()
        return round(seconds, 1) if seconds > 0 else None

    def look(self) -> None:
        """Compare, and tell of a change."""
        behind = self.behind
        if (behind is not None) == self._told:
            return
        self._told = behind is not None
        if behind is not None:
            last = datetime.fromtimestamp(self._last_time(), UTC).isoformat(timespec="seconds")
            self._note(
                kind=NoteKind.AGENT,
                reason=Reason.CLOCK_BEHIND,
                detail=f"the clock is before {last}, which it has been at; maintenance windows wait, all else goes on",
            )
        else:
            self._note(kind=NoteKind.AGENT, detail="the clock is believed again")
