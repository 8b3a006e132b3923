"""Which lanes had no event for a while: looked at now and then, so that an event costs one dictionary entry."""


class IdleWatch:
    """Lanes by the time of their last event, as coarse as the times between two calls of `due`."""

    __slots__ = ("_seen", "_timeout", "_touched")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        """Seconds."""
        self._touched: dict[str, None] = {}
        self._seen: dict[str, float] = {}
        """Lane to when it was last found touched, the longest ago first."""

    def note(self, lane: str) -> None:
        """An event came."""
        self._touched[lane] = None

    def due(self, now: float) -> list[str]:
        """The lanes that had no event for the time-out; they are forgotten until their next one. `now` is monotonic."""
        for lane in self._touched:
            self._seen.pop(lane, None)
            self._seen[lane] = now
        self._touched.clear()
        found = []
        for lane, seen in self._seen.items():
            if now - seen < self._timeout:
                break
            found.append(lane)
        for lane in found:
            del self._seen[lane]
        return found
