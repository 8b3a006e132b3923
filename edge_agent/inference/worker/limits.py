"""A worker's limits that every kernel has: memory, CPU time, descriptors, core files, and no life without the daemon."""

import ctypes
import math
import os
import resource
import signal
import sys
import time

from edge_agent.inference import protocol

_PR_SET_PDEATHSIG = 1
_MAX_FILES = 64


def limit(memory_bytes: int, parent: int) -> None:
    """No core dumps (they hold people's data), few descriptors, bounded memory, and no life without the daemon."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))
    # What it writes into shared memory is no part of its address space.
    resource.setrlimit(resource.RLIMIT_FSIZE, (protocol.MAX_FRAME_BYTES, protocol.MAX_FRAME_BYTES))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # the daemon ended before the line above could take effect
    # Terminal keys and the service manager's SIGTERM go to the whole group; the daemon decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class CpuAllowance:
    """CPU time that is renewed by who answers: a worker that runs on where the daemon has lost sight of it gets SIGXCPU."""

    def __init__(self, seconds: int) -> None:
        """`seconds` from now on, all threads together; 0 is no limit."""
        self._seconds = seconds
        self._end = 0
        if seconds:
            self._grant(time.process_time())

    def renew(self) -> None:
        """After an answer: where less than half is left, there is the whole again."""
        if self._seconds:
            used = time.process_time()
            if self._end - used < self._seconds / 2:
                self._grant(used)

    def _grant(self, used: float) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        self._end = math.ceil(used) + self._seconds
        resource.setrlimit(resource.RLIMIT_CPU, (self._end if most == resource.RLIM_INFINITY else min(self._end, most), most))
