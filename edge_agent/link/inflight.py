"""In-flight accounting of one connection, in both directions. Pure: no socket, no thread."""

from collections import deque
from collections.abc import Iterable

from edge_agent.link.port import Receipt


class Window:
    """Publishes that the broker has not confirmed: packet id to the caller's token."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._tokens: dict[int, int] = {}

    @property
    def free(self) -> int:
        """How many more publishes may be started."""
        return self.size - len(self._tokens)

    def start(self, mid: int, token: int) -> None:
        """Note a publish under its packet id."""
        self._tokens[mid] = token

    def finish(self, confirmed: Iterable[tuple[int, Receipt]]) -> list[tuple[int, Receipt]]:
        """Turn (packet id, receipt) into (token, receipt); ids that are not ours are left out."""
        outcomes = []
        for mid, receipt in confirmed:
            token = self._tokens.pop(mid, None)
            if token is not None:
                outcomes.append((token, receipt))
        return outcomes

    def lose(self) -> list[tuple[int, Receipt]]:
        """Outcomes of all unfinished publishes when the connection is gone, in the order in which they were started."""
        outcomes = [(token, Receipt.FAILED) for token in self._tokens.values()]
        self._tokens.clear()
        return outcomes


class Arrivals:
    """Received packets that are not acknowledged yet.

    MQTT 5 (4.6.0-2) wants PUBACKs in the order of arrival: one that is asked for early waits for those before it.
    """

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._early: set[int] = set()

    def __len__(self) -> int:
        return len(self._order)

    def arrived(self, mid: int) -> None:
        """Note a packet with QoS above 0."""
        self._order.append(mid)

    def acknowledge(self, mid: int) -> list[int]:
        """The packet ids that may be acknowledged now, in order; empty if `mid` has to wait or is not known."""
        order = self._order
        if not order:
            return []
        if order[0] != mid:
            if mid in order:
                self._early.add(mid)
            return []
        ready = [order.popleft()]
        while self._early and order and order[0] in self._early:
            self._early.discard(order[0])
            ready.append(order.popleft())
        return ready
