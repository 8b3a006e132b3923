import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.formats import Ingest, decode
from edge_agent.settings import IngestSettings

SOURCES = [
    IngestSettings(topic="#"),
    IngestSettings(topic="#", values={"t": "a.b", "u": "0.1"}, device_path="d", device_level=1, naive_zone="Europe/Rome"),
    IngestSettings(topic="#", id_path=None, time_path=None, max_depth=2, max_values=3),
    IngestSettings(topic="#", format="text"),
    IngestSettings(topic="#", format="text", text_path="text"),
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["id", "time", "a", "b", "a.b", "d", "text", "0"]) | st.text(), inner)
    ),
)


@pytest.mark.parametrize("settings", SOURCES)
@given(payload=st.binary(), topic=st.text(), retain=st.booleans())
def test_random_bytes_never_raise(settings: IngestSettings, payload: bytes, topic: str, retain: bool) -> None:
    ingest = Ingest(settings)
    assert isinstance(ingest.decode(topic, payload, retain=retain), Decoded | DeadLetter)
    assert ingest.errors == 0


@pytest.mark.parametrize("settings", SOURCES)
@given(document=DOCUMENTS)
def test_any_document_is_read_or_refused_by_a_rule(settings: IngestSettings, document: object) -> None:
    ingest = Ingest(settings)
    assert isinstance(ingest.decode("a/b", json.dumps(document).encode()), Decoded | DeadLetter)
    assert ingest.errors == 0


def test_an_unknown_zone_is_refused_when_the_decoder_is_made() -> None:
    with pytest.raises(ValueError, match="Mars/Olympus"):
        Ingest(IngestSettings(topic="#", naive_zone="Mars/Olympus"))


def test_a_retained_message_is_flagged() -> None:
    decoded = decode(IngestSettings(topic="#"), "t", b'{"x": 1, "time": 1700000000}', retain=True)
    assert isinstance(decoded, Decoded)
    assert decoded.events[0].quality == ("retained",)
