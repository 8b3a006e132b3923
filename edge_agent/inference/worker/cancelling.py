"""Ends a batch that is past its deadline, on the daemon's word: a thread of the worker reads a pipe while the first one runs.

A batch costs two locks more and no turn of the thread: it sleeps until the daemon writes the number of a late batch.
"""

import os
import threading
import time
from collections.abc import Callable

from edge_agent.inference.protocol import CANCEL

_REPEAT = 0.01


class Cancelling:
    """Knows which batch runs now, so that a word that comes too late never hits the next one."""

    def __init__(self, descriptor: int, cancel: Callable[[], object]) -> None:
        """`descriptor`: the read end of the pipe. `cancel` ends what runs; the thread calls it, perhaps often."""
        self._descriptor = descriptor
        self._cancel = cancel
        self._lock = threading.Lock()
        self._number = 0

    def start(self) -> None:
        """Start the thread; it ends with the daemon's end of the pipe."""
        threading.Thread(target=self._listen, name="cancel", daemon=True).start()

    def begin(self, number: int) -> None:
        """The batch of this number, above 0, runs from now on."""
        with self._lock:
            self._number = number

    def end(self) -> None:
        """No batch runs: returns once nobody cancels any more."""
        with self._lock:
            self._number = 0

    def _listen(self) -> None:
        while len(data := os.read(self._descriptor, CANCEL.size)) == CANCEL.size:
            number = CANCEL.unpack(data)[0]
            while self._tell(number):
                # A batch may be several runs, and a word that comes before a run has begun is not heard by every runtime.
                time.sleep(_REPEAT)

    def _tell(self, number: int) -> bool:
        with self._lock:
            if self._number != number:
                return False
            self._cancel()
            return True
