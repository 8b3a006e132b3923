"""What is made to exhaust a decoder costs a bounded time and a bounded memory, and no exception."""

import time
import tracemalloc

import pytest

from edge_agent.ingest.formats import FORMATS
from edge_agent.ingest.port import Message
from tests.fuzz.hostile import bombs_of, cases_of, pairs_of
from tests.fuzz.invariants import Subject

SECONDS = 5.0
"""Of processor time for one message with all checks: far more than any needs, far less than a blow-up takes."""
BYTES = 64 * 1024**2
"""That the interpreter allocates for one message of 256 KiB at most: 10,000 readings with their names are a few."""


def hear(subject: Subject, label: str, message: Message) -> None:
    start = time.process_time()
    try:
        subject.hear(message)
    except Exception as error:
        raise AssertionError(f"{label} on {message.topic[:80]}: {type(error).__name__}: {error}") from error
    spent = time.process_time() - start
    assert spent < SECONDS, f"{label}: {spent:.1f} s"


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_hostile_message_costs_more_than_it_may(name: str) -> None:
    for label, message in cases_of(name):
        hear(Subject(name, device_path="d"), label, message)


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_hostile_message_takes_more_memory_than_it_may(name: str) -> None:
    decode = Subject(name).format.decode
    tracemalloc.start()
    try:
        for label, message in cases_of(name):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            decode(message)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak < BYTES, f"{label} on {message.topic[:80]}: {peak} bytes"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_value_inside_a_valid_message_costs_more_than_it_may(name: str) -> None:
    for label, message in (*bombs_of(name), *pairs_of(name)):
        hear(Subject(name, device_path="d"), label, message)
