"""The inputs that wait for one model, and what becomes of those that are too many. Pure bookkeeping.

A pipeline whose queue is bounded has a `Lane` in the queue of its model. What its policy drops is told in its place among the
pipeline's other inputs: never before those that came earlier, because a window is finished in the order in which it closed.
So a dropped input that has others of its lane before it (in the worker, or waiting) stays in line without its content.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edge_agent.inference.answers import Done, Failure, ModelInput
from edge_agent.inference.crash_policy import CrashPolicy
from edge_agent.settings import QueuePolicy, QueueSettings
from fleet_contract.reasons import Reason

DROPPED: Final = frozenset({Reason.WINDOWS_DROPPED, Reason.WINDOWS_SAMPLED})
"""Reasons of what a lane gives in place of an answer. The window is done: nothing was wrong with it."""
COMPACT: Final = 64
"""So many inputs that have been told and are more than half of the queue are taken out of it."""


class Lane:
    """One pipeline's part of the queue. Made by whoever submits, and used for one model alone."""

    __slots__ = ("_beyond", "behind", "flying", "line", "outcome", "settings", "waiting")

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.waiting = 0
        """Inputs that wait to be sent; at most `max_windows` with policy `drop_oldest`."""
        self.line: deque[Pending] = deque()
        """Those and the dropped ones between them, in order."""
        self.flying = 0
        """Inputs of the lane that the worker has, or whose answers are being given out."""
        self.behind: list[Pending] = []
        """Dropped ones that come right after what the worker has."""
        dropped = settings.policy is QueuePolicy.DROP_OLDEST
        reason = Reason.WINDOWS_DROPPED if dropped else Reason.WINDOWS_SAMPLED
        self.outcome = Failure(reason, f"more than {settings.max_windows} windows wait for the model")
        self._beyond: dict[str, int] = {}
        """Sensor to its windows that came while there was no room."""

    @property
    def is_full(self) -> bool:
        """Whether one more is too many."""
        return self.settings.max_windows is not None and self.waiting >= self.settings.max_windows

    def keeps(self, sensor: str) -> bool:
        """Policy `sample`: whether a new input is kept. With room each is, and without it one in `one_in` of each sensor."""
        if not self.is_full:
            self._beyond.clear()
            return True
        count = self._beyond[sensor] = self._beyond.get(sensor, 0) + 1
        return count % self.settings.one_in == 0


@dataclass(slots=True)
class Pending:
    """An input that waits, or is being scored."""

    item: ModelInput | None
    """None: it was dropped, and waits only to be told so in its place."""
    done: Done
    since: float = 0.0
    """When it came, on the monotonic clock."""
    lane: Lane | None = None
    crashes: int = 0
    """Of workers that had this input alone, and deadlines that it missed so. In a batch nobody knows whose fault it was."""
    blamed_by: CrashPolicy | None = None
    """Of the release that `crashes` counts for."""
    told: bool = False
    """Dropped, and its `done` was called."""


class InputQueue:
    """First in, first out.

    Args:
        tell: called with inputs that were dropped, in order; it calls their `done`.
    """

    def __init__(self, tell: Callable[[Sequence[Pending]], object]) -> None:
        self._tell = tell
        self._entries: deque[Pending] = deque()
        self._waiting = 0
        self._told = 0
        self._has_lanes = False

    def __len__(self) -> int:
        """Inputs that wait to be sent."""
        return self._waiting

    @property
    def oldest(self) -> float:
        """When the first one came; only with one there."""
        return self._entries[0].since

    def put(self, entry: Pending, sensor: str = "") -> None:
        """Add an input at the end. In a lane that is full, its policy drops one."""
        lane = entry.lane
        self._entries.append(entry)
        if lane is None:
            self._waiting += 1
            return
        self._has_lanes = True
        lane.line.append(entry)
        if lane.settings.policy is QueuePolicy.SAMPLE and not lane.keeps(sensor):
            entry.item = None
            return
        lane.waiting += 1
        self._waiting += 1
        if lane.settings.policy is QueuePolicy.DROP_OLDEST:
            self._enforce(lane)

    def take(self, most: int) -> list[Pending]:
        """Remove up to `most` inputs from the front, with the dropped ones between them. There must be one."""
        entries = self._entries
        if not self._has_lanes:
            taken = [entries.popleft() for _ in range(min(most, len(entries)))]
            self._waiting -= len(taken)
            return taken
        taken = []
        count = 0
        while count < most and entries:
            entry = entries.popleft()
            if entry.told:
                self._told -= 1
                continue
            taken.append(entry)
            lane = entry.lane
            if entry.item is not None:
                count += 1
            if lane is not None:
                lane.line.popleft()
                lane.flying += 1
                if entry.item is not None:
                    lane.waiting -= 1
        self._waiting -= count
        return taken

    def put_back(self, taken: list[Pending]) -> None:
        """What `take` gave is not answered and waits again, before all others."""
        self._entries.extendleft(reversed(taken))
        self._waiting += sum(1 for entry in taken if entry.item is not None)
        if not self._has_lanes:
            return
        lanes = _lanes_of(taken)
        for lane in lanes:
            own = [entry for entry in taken if entry.lane is lane]
            lane.flying -= len(own)
            lane.line.extendleft(reversed(lane.behind))
            lane.line.extendleft(reversed(own))
            lane.behind = []
            lane.waiting += sum(1 for entry in own if entry.item is not None)
        for lane in lanes:
            if lane.settings.policy is QueuePolicy.DROP_OLDEST:
                self._enforce(lane)
            self._tell_first(lane)

    def owed(self, taken: Sequence[Pending]) -> list[Pending]:
        """Dropped inputs that are to be told right after the answers to `taken`, before anything else is taken."""
        if not self._has_lanes:
            return []
        return [entry for lane in _lanes_of(taken) for entry in self._first_dropped(lane)]

    def answered(self, taken: Sequence[Pending]) -> None:
        """The answers to what `take` gave were given out."""
        if not self._has_lanes:
            return
        for entry in taken:
            if entry.lane is not None:
                entry.lane.flying -= 1
        for lane in _lanes_of(taken):
            self._tell_first(lane)

    def clear(self) -> None:
        """Forget everything, and tell nobody."""
        for lane in _lanes_of(self._entries):
            lane.line.clear()
            lane.behind = []
            lane.waiting = lane.flying = 0
        self._entries.clear()
        self._waiting = self._told = 0

    def _enforce(self, lane: Lane) -> None:
        """Drop the oldest until no more wait than may."""
        most = lane.settings.max_windows
        while most is not None and lane.waiting > most:
            entry = lane.line.popleft()
            if entry.item is not None:
                entry.item = None
                lane.waiting -= 1
                self._waiting -= 1
            lane.behind.append(entry)
        self._tell_first(lane)

    def _tell_first(self, lane: Lane) -> None:
        """Tell of dropped inputs that have no other of their lane before them."""
        if not lane.flying:
            dropped = self._first_dropped(lane)
            if dropped:
                self._tell(dropped)

    def _first_dropped(self, lane: Lane) -> list[Pending]:
        found, lane.behind = lane.behind, []
        while lane.line and lane.line[0].item is None:
            found.append(lane.line.popleft())
        for entry in found:
            entry.told = True
        self._told += len(found)
        entries = self._entries
        while entries and entries[0].told:
            entries.popleft()
            self._told -= 1
        if self._told > COMPACT and self._told * 2 > len(entries):
            self._entries = deque(entry for entry in entries if not entry.told)
            self._told = 0
        return found


def _lanes_of(entries: Sequence[Pending] | deque[Pending]) -> list[Lane]:
    """The lanes that these entries are of, each once."""
    return list({id(entry.lane): entry.lane for entry in entries if entry.lane is not None}.values())
