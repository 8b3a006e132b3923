"""What the trust child does before it fetches."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from edge_agent.updates.trust.refusal import Refusal
from edge_agent.updates.trust_child import _lock


def take(folder: Path) -> int:
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_child_waits_for_another_one_to_end(tmp_path: Path) -> None:
    other = take(tmp_path)
    ends = threading.Timer(0.1, os.close, [other])
    ends.start()
    os.close(_lock(tmp_path, seconds=30.0))
    ends.join()


def test_a_child_waits_for_another_one_only_so_long(tmp_path: Path) -> None:
    other = take(tmp_path)
    with pytest.raises(Refusal, match="another download is still running") as caught:
        _lock(tmp_path, seconds=0.0)
    assert caught.value.temporary
    os.close(other)
