"""What the fuzzer calls with each input: no input may raise, or take more than a bounded time and memory."""

import resource
import sys
import time
from typing import Final

from tests.fuzz.frames import Frames
from tests.fuzz.invariants import Subject

SECONDS: Final = 3.0
"""Of processor time for one message, decoded twice and checked under instrumentation; a few milliseconds are usual."""
MEMORY: Final = 1024**3
"""Address space beyond what the process has when the fuzzer starts."""


class TooSlow(Exception):
    """A message took longer than it may."""


class Target:
    """One format under test. Each input is heard by a source of its own."""

    def __init__(self, name: str) -> None:
        self.frames = Frames(name)
        self.inputs = 0
        self.slowest = 0.0
        self._name = name

    def __call__(self, data: bytes) -> None:
        """Raises what is wrong with an input."""
        self.inputs += 1
        subject = Subject(self._name)
        for message in self.frames.read(data):
            start = time.thread_time()
            subject.hear(message)
            spent = time.thread_time() - start
            self.slowest = max(self.slowest, spent)
            if spent > SECONDS:
                raise TooSlow(f"{spent:.1f} s for {len(message.payload)} bytes")

    def report(self) -> None:
        """One line."""
        sys.stderr.write(f"{self._name}: {self.inputs} inputs, the slowest message took {self.slowest * 1000:.1f} ms\n")


def limit_memory() -> None:
    """Make an allocation beyond `MEMORY` fail in this process, from now on."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
