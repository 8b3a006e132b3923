from datetime import UTC

import pytest

from edge_agent.ingest.envelope import configured_device, event_time, topic_device
from edge_agent.ingest.events import DeadLetter
from edge_agent.ingest.json_document import MISSING, find, parse
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        ("1715667669.12", "2024-05-14T06:21:09.12Z"),
        ("1715667669.123456789", "2024-05-14T06:21:09.123456789Z"),
        ("1715667669.120000001", "2024-05-14T06:21:09.120000001Z"),
        ("1715667669.10", "2024-05-14T06:21:09.1Z"),
        ("1715667669.0", "2024-05-14T06:21:09Z"),
        ("1.71566766912e9", "2024-05-14T06:21:09.12Z"),
        ("1715667669123.25", "2024-05-14T06:21:09.12325Z"),
        ("1715667669123", "2024-05-14T06:21:09.123Z"),
        ("-1.5", "1969-12-31T23:59:58.5Z"),
    ],
)
@pytest.mark.parametrize("beside", ["1715667669.12", "7"])
def test_a_number_keeps_all_the_digits_that_were_sent(sent: str, time: str, beside: str) -> None:
    payload = f'{{"ts": {beside}, "in": {{"ts": {sent}}}}}'.encode()
    document = parse(IngestSettings(topic="#"), payload)
    assert event_time(find(document, "in.ts"), "in.ts", UTC, payload) == (time, False)


@pytest.mark.parametrize("found", [None, MISSING])
def test_null_and_nothing_are_no_time(found: object) -> None:
    assert event_time(found, "ts", UTC, b"{}") == (None, False)


def test_what_is_no_time_is_a_dead_letter_that_names_its_path() -> None:
    letter = event_time([], "params.ts", UTC, b"{}")
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.BAD_TIME
    assert letter.detail.startswith("params.ts: ")


@pytest.mark.parametrize(
    ("topic", "level", "configured", "device"),
    [
        ("farm/north/x", 1, "north", "north"),
        ("farm/north/x", -1, "x", "x"),
        ("farm/north/x", 3, None, "farm/north/x"),
        ("farm//x", 1, None, "farm//x"),
        ("farm/north/x", None, None, "farm/north/x"),
    ],
)
def test_an_empty_or_missing_level_of_the_topic_names_no_device(
    topic: str, level: int | None, configured: str | None, device: str
) -> None:
    settings = IngestSettings(topic="#", device_level=level)
    assert configured_device(settings, topic) == configured
    assert topic_device(settings, topic) == device
