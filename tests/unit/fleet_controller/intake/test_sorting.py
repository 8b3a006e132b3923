"""From topic and payload to what the database takes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_contract.topics import Up
from fleet_controller.intake.sorting import Incoming, NoteFields, Refused, Sorted, is_newer, sort


@given(st.binary(max_size=200), st.sampled_from(list(Up)))
def test_random_bytes_never_raise(payload: bytes, channel: Up) -> None:
    suffix = "/p" if channel is Up.RESULT else ""
    read = sort(Incoming(f"sh/v1/a/up/{channel}{suffix}", payload))
    assert read is None or read.payload == payload


@given(st.text(max_size=50))
def test_random_topics_never_raise(topic: str) -> None:
    read = sort(Incoming(topic, b"{}"))
    assert isinstance(read, Refused)
    assert read.device is None


def test_a_note_of_an_unknown_kind_with_unknown_fields_is_taken() -> None:
    payload = json.dumps({"stream": "s", "seq": 7, "kind": "of_tomorrow", "detail": "x", "new": {"a": 1}}).encode()
    read = sort(Incoming("sh/v1/a/up/note", payload))
    assert isinstance(read, Sorted)
    assert isinstance(read.fields, NoteFields)
    assert read.payload == payload


@pytest.mark.parametrize("payload", [b'{"stream":"s","seq":3}', b'{"stream":"s","seq":3,"result_id":5}'])
def test_a_malformed_result_with_a_place_in_the_stream_keeps_it(payload: bytes) -> None:
    read = sort(Incoming("sh/v1/a/up/result/p", payload))
    assert isinstance(read, Refused)
    assert (read.stream, read.seq) == ("s", 3)


@pytest.mark.parametrize("seq", [-1, 0, 2**63, 1.5, "1"])
def test_a_sequence_number_that_no_database_holds_is_no_place(seq: object) -> None:
    read = sort(Incoming("sh/v1/a/up/note", json.dumps({"stream": "s", "seq": seq, "kind": "agent"}).encode()))
    assert isinstance(read, Refused)
    assert read.seq is None


def test_an_emptied_slot_says_nothing() -> None:
    assert sort(Incoming("sh/v1/a/up/birth", b"")) is None


def test_within_a_stream_the_higher_counter_is_newer_and_an_end_comes_after_its_beginning() -> None:
    assert is_newer("s", (2, False), "s", (1, False))
    assert not is_newer("s", (1, False), "s", (2, False))
    assert is_newer("s", (1, True), "s", (1, False))
    assert not is_newer("s", (1, False), "s", (1, True))
    assert is_newer("s", (2, False), "s", (1, True))


def test_another_stream_is_newer_by_its_arrival() -> None:
    assert is_newer("t", (1, False), "s", (9, False))
