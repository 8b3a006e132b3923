"""The thread that ends a late batch, with a real pipe."""

import os
import threading

from edge_agent.inference.protocol import CANCEL
from edge_agent.inference.worker.cancelling import Cancelling


class Batch:
    """What a batch is told."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.times = 0

    def cancel(self) -> None:
        self.times += 1
        self.told.set()


def join_listener() -> None:
    """Wait for the thread, which ends when the pipe is closed and every word in it is judged."""
    for thread in threading.enumerate():
        if thread.name == "cancel":
            thread.join(30)
            assert not thread.is_alive()


def test_the_batch_that_runs_is_told_until_it_ends() -> None:
    batch = Batch()
    read, write = os.pipe()
    cancelling = Cancelling(read, batch.cancel)
    cancelling.start()
    cancelling.begin(7)
    os.write(write, CANCEL.pack(7))
    for _ in range(3):  # a runtime may hear the third word only
        assert batch.told.wait(30)
        batch.told.clear()
    cancelling.end()
    os.close(write)
    join_listener()
    os.close(read)


def test_a_word_that_comes_too_late_does_not_hit_the_next_batch() -> None:
    batch = Batch()
    read, write = os.pipe()
    cancelling = Cancelling(read, batch.cancel)
    cancelling.begin(1)
    cancelling.end()
    cancelling.begin(2)
    os.write(write, CANCEL.pack(1))
    os.close(write)
    cancelling.start()
    join_listener()
    os.close(read)
    assert batch.times == 0
