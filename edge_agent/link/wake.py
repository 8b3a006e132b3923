"""A wake-up call for a thread that waits in poll(2)."""

import os
import select


class Wake:
    """Set by any thread, waited for by one."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Wake the waiting thread, now or at its next wait."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Take back all calls made so far."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or as soon as there is a call."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(seconds * 1000.0):
            self.clear()

    def close(self) -> None:
        """Release the descriptor; nobody may wait or set any more."""
        os.close(self.fd)
