"""Where large bodies of frames cross between daemon and worker: two files in memory, one for each direction.

Both sides import this file, so it runs on Python 3.10. Neither side maps the files: they are written and read at their
beginning, one body at a time. So nothing stays in the daemon's address space, a worker's limit on its own does not count them,
and a worker that cuts its file short gives a short read and not a SIGBUS.
"""

import os
from collections.abc import Sequence

from edge_agent.inference.protocol import Buffer, ProtocolError

_MOST_PARTS = 512
"""Of one system call; the kernel's bound (IOV_MAX) is 1024."""


class SharedMemory:
    """One side's view: the file that it writes and the file that it reads."""

    def __init__(self, writes: int, reads: int) -> None:
        """The descriptors, which it owns from now on."""
        self._writes, self._reads = writes, reads
        self.held = False
        """Whether memory may be allocated: something was written or read since the last `release`."""

    @classmethod
    def create(cls) -> "SharedMemory":
        """The daemon's view of new, empty files. Raises OSError."""
        writes = os.memfd_create("smallhold-request")
        try:
            return cls(writes, os.memfd_create("smallhold-answer"))
        except BaseException:
            os.close(writes)
            raise

    @property
    def for_worker(self) -> tuple[int, int]:
        """The descriptors as the worker has to take them: what it writes, what it reads."""
        return self._reads, self._writes

    def write(self, parts: Sequence[Buffer]) -> bool:
        """See `protocol.BodyStore`."""
        self.held = True
        at = 0
        try:
            for start in range(0, len(parts), _MOST_PARTS):
                some = parts[start : start + _MOST_PARTS]
                size = sum(memoryview(part).nbytes for part in some)
                if os.pwritev(self._writes, some, at) != size:
                    return False
                at += size
        except OSError:
            return False
        return True

    def read(self, size: int) -> bytes:
        """See `protocol.BodyStore`."""
        self.held = True
        body = os.pread(self._reads, size, 0)
        if len(body) != size:
            raise ProtocolError(f"{len(body)} bytes are in the shared memory where {size} were announced")
        return body

    def release(self) -> None:
        """Give the memory back; only while no body is on its way."""
        if self.held:
            self.held = False
            os.ftruncate(self._writes, 0)
            os.ftruncate(self._reads, 0)

    def close(self) -> None:
        """Close both files; a second time nothing happens."""
        for descriptor in (self._writes, self._reads):
            if descriptor >= 0:
                os.close(descriptor)
        self._writes = self._reads = -1
