import os
import select
import threading
from collections.abc import Iterator

import pytest

import edge_agent.loop
from edge_agent.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_calls_posted_from_another_thread_run_on_the_loops_thread_in_order(loop: Loop) -> None:
    seen: list[tuple[int, int]] = []
    thread = threading.Thread(
        target=lambda: [loop.post(lambda number=number: seen.append((number, threading.get_ident()))) for number in range(500)]
    )
    thread.start()
    assert loop.run_until(lambda: len(seen) == 500, 10)
    thread.join()
    assert seen == [(number, threading.get_ident()) for number in range(500)]


def test_a_call_that_fails_is_counted_and_the_next_one_runs(loop: Loop) -> None:
    seen: list[int] = []
    loop.post(lambda: 1 / 0)
    loop.call_later(0, lambda: 1 / 0)
    loop.post(seen.append, 1)
    assert loop.run_until(lambda: bool(seen) and loop.errors == 2, 5)


def test_timers_run_in_the_order_of_their_time_and_a_cancelled_one_never(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(0.03, lambda: seen.append("late"))
    loop.call_later(0.01, lambda: seen.append("early"))
    loop.call_later(0.02, lambda: seen.append("never")).cancel()
    assert loop.run_until(lambda: "late" in seen, 5)
    assert seen == ["early", "late"]


def test_a_repeated_call_goes_on_after_one_of_its_turns_failed(loop: Loop) -> None:
    turns: list[int] = []

    def call() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise ValueError("once")

    loop.call_every(0.01, call)
    assert loop.run_until(lambda: len(turns) >= 3, 5)


def test_a_descriptor_is_read_until_it_is_removed(loop: Loop) -> None:
    read, write = os.pipe()
    seen: list[bytes] = []
    loop.add_reader(read, lambda: seen.append(os.read(read, 10)))
    os.write(write, b"a")
    assert loop.run_until(lambda: seen == [b"a"], 5)
    loop.remove_reader(read)
    os.write(write, b"b")
    loop.turn(0.05)
    assert seen == [b"a"]
    os.close(read)
    os.close(write)


def test_stop_from_another_thread_ends_run(loop: Loop) -> None:
    threading.Timer(0.05, loop.stop).start()
    loop.run()


def test_a_post_that_meets_the_loop_while_it_wakes_up_does_not_silence_later_ones(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A post in the very moment of the read: its wake-up byte may be read away, but the next post must make a new one."""
    seen: list[str] = []
    real = os.read

    def read(fd: int, size: int) -> bytes:
        if not seen:
            loop.post(seen.append, "during")
            seen.append("read")
        return real(fd, size)

    monkeypatch.setattr(edge_agent.loop.os, "read", read)
    loop.post(seen.append, "before")
    loop.turn(1.0)
    assert seen == ["read", "before", "during"]
    loop.post(seen.append, "after")
    readable, _, _ = select.select([loop._wake_read], [], [], 0)
    assert readable
    loop.turn(1.0)
    assert seen[-1] == "after"
