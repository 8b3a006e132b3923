import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.recording import Recorded, RecordingError, read_recording, to_line


def test_a_payload_is_a_value_a_text_or_bytes() -> None:
    encoded = base64.b64encode(b"\xff\0").decode()
    lines = [
        b'{"topic": "t", "payload": {"a": [1, "\xc3\xa9"]}}',
        b"",
        b'{"topic": "t", "payload": "12.50"}',
        b'{"topic": "t", "payload": {"base64": "' + encoded.encode() + b'"}}',
    ]
    assert [item.payload for item in read_recording(lines)] == ['{"a":[1,"é"]}'.encode(), b"12.50", b"\xff\0"]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b'{"topic": "t"}',
        b'{"topic": "t", "payload": {"base64": "?"}}',
        b"\xff",
        b'{"topic": "t", "payload": 1, "qos": 3}',
        b'{"topic": "t", "payload": 1, "user": ["x"]}',
        b'{"topic": "t", "payload": 1, "time": "yesterday"}',
    ],
)
def test_a_line_that_is_no_event_is_named(bad: bytes) -> None:
    with pytest.raises(RecordingError, match="line 2"):
        list(read_recording([b'{"topic": "t", "payload": 1}', bad]))


@given(
    payload=st.binary()
    | st.text().map(str.encode)
    | st.sampled_from([b'{"base64":"eA=="}', b"1e400", b"NaN", b'{"a":1.0}', b'{"a": 1}', b'"text"', b"123456789012345678901"]),
    topic=st.text(min_size=1),
    qos=st.sampled_from([0, 1, 2]),
    retain=st.booleans(),
    time=st.none() | st.just(1700000000.125),
    user=st.lists(st.tuples(st.text(), st.text())),
)
def test_what_is_written_is_read_back_byte_for_byte(
    payload: bytes, topic: str, qos: int, retain: bool, time: float | None, user: list[tuple[str, str]]
) -> None:
    message = Recorded(topic, payload, {"content_type": "a/b", "user": user} if user else {}, qos, retain, time)
    assert list(read_recording([to_line(message)])) == [message]


def test_a_json_payload_is_written_as_json_for_people() -> None:
    assert json.loads(to_line(Recorded("t", b'{"a":1}', time=0.0))) == {
        "time": "1970-01-01T00:00:00Z",
        "topic": "t",
        "payload": {"a": 1},
    }
