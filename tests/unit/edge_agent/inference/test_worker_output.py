import contextlib
import os

import pytest

from edge_agent.inference.worker_output import BURST, EVERY, LONGEST, LineBound, WorkerOutput
from edge_agent.loop import Loop


def test_lines_are_shown_whole_however_they_are_cut() -> None:
    bound = LineBound()
    assert bound.feed(b"one\ntw", 0.0) == ["one"]
    assert bound.feed(b"o\n\nfour", 0.0) == ["two", ""]
    assert bound.end() == ["four"]
    assert bound.end() == []


def test_after_the_first_lines_only_a_few_are_shown_and_the_others_are_counted() -> None:
    bound = LineBound()
    many = b"x\n" * (BURST + 100)
    assert len(bound.feed(many, 0.0)) == BURST
    assert bound.dropped == 100
    assert bound.feed(b"y\nz\n", EVERY) == ["y"]
    assert bound.dropped == 101
    assert len(bound.feed(many, 1e9)) == BURST


def test_a_line_without_end_takes_no_memory_and_is_cut() -> None:
    bound = LineBound()
    for _ in range(1000):
        assert bound.feed(b"x" * 1000, 0.0) == []
    assert bound.feed(b"\nnext\n", 0.0) == ["x" * LONGEST, "next"]


def test_what_is_no_text_cannot_harm_a_terminal() -> None:
    assert LineBound().feed(b"\x1b[2Ja\xffb\r\n", 0.0) == [" [2Ja\\xffb "]


def test_what_is_written_before_the_end_is_logged_with_its_worker(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    read, write = os.pipe2(os.O_NONBLOCK)
    output = WorkerOutput(loop, os.fdopen(read, "rb", buffering=0), "leak", 7)
    os.write(write, b"no memory\n" + b"x\n" * (BURST + 9))
    assert loop.run_until(lambda: len(caplog.records) >= BURST, 30)
    os.write(write, b"last words")
    output.close()
    output.close()
    os.close(write)
    fields = [(record.getMessage(), record.__dict__.get("text"), record.__dict__.get("lines")) for record in caplog.records]
    assert fields[0] == ("a worker says", "no memory", None)
    assert fields[-2:] == [("a worker says", "last words", None), ("lines of a worker are not shown", None, 10)]
    assert {(record.__dict__["model"], record.__dict__["pid"]) for record in caplog.records} == {("leak", 7)}


def test_a_worker_that_prints_without_end_costs_the_daemon_few_reads(loop: Loop) -> None:
    read, write = os.pipe2(os.O_NONBLOCK)
    stream = os.fdopen(read, "rb", buffering=0)
    output = WorkerOutput(loop, stream, "leak", 7, pause=1e6)

    def fill() -> int:
        written = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                written += os.write(write, b"x\n" * 2048)
        return written

    assert fill() > 0
    loop.turn(1)
    assert fill() > 0
    loop.turn(0)
    loop.turn(0)
    assert fill() == 0  # nobody has read on: a real worker would wait now
    output.close()
    os.close(write)
