"""Talking to systemd: readiness, status, and a watchdog that is petted on proven progress alone (sd_notify(3))."""

import os
import socket
from collections.abc import Callable

Progress = Callable[[], bool]
"""Whether a part has done what it should have since it was last asked."""


class Notifier:
    """Sends to `$NOTIFY_SOCKET`; does nothing where the process was not started by systemd."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET")
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    def send(self, state: str) -> bool:
        """Send one state such as `READY=1`; False when systemd cannot be told."""
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            return False
        return True

    @staticmethod
    def watchdog_interval() -> float | None:
        """How often to pet the watchdog (seconds): a third of what the unit allows; None when there is no watchdog."""
        usec = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return int(usec) / 3e6 if usec.isdigit() and mine else None


class Watchdog:
    """Pets systemd's watchdog when every part proves progress; names the parts that do not."""

    def __init__(self, notifier: Notifier, parts: dict[str, Progress]) -> None:
        self._notifier = notifier
        self._parts = parts

    def check(self) -> tuple[str, ...]:
        """Ask every part once; pet the watchdog if none is stuck. Returns the names of the stuck ones."""
        stuck = tuple(name for name, progress in self._parts.items() if not progress())
        if not stuck:
            self._notifier.send("WATCHDOG=1")
        else:
            self._notifier.send(f"STATUS=no progress: {', '.join(stuck)}")
        return stuck
