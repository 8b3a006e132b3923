import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.decode_command import decode_file


def test_readings_are_json_lines_with_every_field() -> None:
    payload = b'{"id": "e1", "time": "2024-05-01T10:00:00.123456789Z", "humidity": 40, "total": 9007199254740993}'
    lines, status = decode_file("json", "farm/a", payload)
    assert status == 0
    assert [json.loads(line) for line in lines] == [
        {
            "device": "farm/a",
            "quantity": "relative_humidity",
            "value": 40,
            "unit": "%RH",
            "time": "2024-05-01T10:00:00.123456789Z",
            "name": "humidity",
            "quality": [],
            "attributes": {},
        },
        {
            "device": "farm/a",
            "quantity": "total",
            "value": 9007199254740993,
            "unit": None,
            "time": "2024-05-01T10:00:00.123456789Z",
            "name": "total",
            "quality": [],
            "attributes": {},
        },
    ]


def test_a_text_is_a_line_with_its_five_fields() -> None:
    lines, status = decode_file("text", "t", b"12.50")
    assert status == 0
    assert [json.loads(line) for line in lines] == [
        {"device": "t", "text": "12.50", "time": None, "name": "text", "quality": ["no_time"]}
    ]


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("json", b'{"a": NaN}', "not_json"),
        ("json", b"[" * 30_000, "too_deep"),
        ("text", b"\xff", "not_utf8"),
        ("auto", b"[" * 30_000 + b"]" * 30_000, "too_deep"),
        ("auto", b'{"a": 1', "not_json"),
    ],
)
def test_a_dead_letter_is_one_line_and_exit_3(name: str, payload: bytes, reason: str) -> None:
    (line,), status = decode_file(name, "t", payload)
    letter = json.loads(line)
    assert (status, letter["dead_letter"], letter["reason"]) == (3, True, reason)
    assert letter["detail"]


@pytest.mark.parametrize(
    ("payload", "field"), [(b'{"a": 1}', "value"), (b" [1]", "value"), (b"12.5", "text"), (b"[urgent] leak", "text")]
)
def test_auto_takes_json_objects_and_arrays_for_json_and_the_rest_for_text(payload: bytes, field: str) -> None:
    (line,), _ = decode_file("auto", "t", payload)
    assert field in json.loads(line)


@given(name=st.sampled_from(["auto", "json", "text"]), topic=st.text(), payload=st.binary())
def test_any_bytes_give_lines_and_a_status(name: str, topic: str, payload: bytes) -> None:
    lines, status = decode_file(name, topic, payload)
    assert status in (0, 3)
    assert all(json.loads(line) for line in lines)
