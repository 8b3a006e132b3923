from typing import Any

import pytest

from edge_agent.ingest.events import DeadLetter, Decoded, Text
from edge_agent.ingest.formats import decode
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason


def read(payload: bytes, **settings: Any) -> Decoded | DeadLetter:
    return decode(IngestSettings(topic="#", format="text", **settings), "city/reports", payload)


@pytest.mark.parametrize("text", ["12.50", " a\r\n", "{broken", "لوله ترکیده است", "\ufeffx", "a\0b", ""])
def test_a_text_is_kept_exactly(text: str) -> None:
    assert read(text.encode()) == Decoded((Text("city/reports", text, None, "text", ("no_time",)),))


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"\xed\xa0\x80", b"abc\xc3"])
def test_bytes_that_are_no_utf8_are_refused(payload: bytes) -> None:
    letter = read(payload)
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.NOT_UTF8


def test_a_text_inside_json_comes_with_its_id_time_and_device() -> None:
    payload = b'{"id": "r1", "time": "2024-01-01T00:00:00Z", "from": "d9", "report": {"body": "5"}}'
    assert read(payload, text_path="report.body", device_path="from") == Decoded(
        (Text("d9", "5", "2024-01-01T00:00:00Z", "report.body"),), "r1", "2024-01-01T00:00:00Z"
    )


@pytest.mark.parametrize("payload", [b'{"body": 5}', b'{"other": "x"}', b'{"body": ["x"]}'])
def test_a_path_that_holds_no_text_is_a_wrong_shape(payload: bytes) -> None:
    letter = read(payload, text_path="body")
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.WRONG_SHAPE


def test_a_null_text_is_no_text() -> None:
    assert read(b'{"body": null}', text_path="body") == Decoded(())
