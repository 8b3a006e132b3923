"""What holds for every format of the table, a new one included: any message is read or refused by a rule, and purely."""

import json
from collections.abc import Iterator
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.ingest.formats import FORMATS
from edge_agent.ingest.port import Message
from tests.fuzz.invariants import Subject
from tests.fuzz.seeds import seeds_of, unseeded

EVERY_FORMAT = pytest.mark.parametrize("name", list(FORMATS))
SOURCES: list[dict[str, Any]] = [
    {},
    {"naive_zone": "Europe/Rome", "device_level": 1, "device_path": "d", "units": {"temperature": "K"}},
    {"values": {"t": "a.b", "u": "0.1"}, "id_path": None, "time_path": "a.time", "text_path": "text"},
    {"max_depth": 2, "max_values": 3},
]
ANY_SOURCE = st.sampled_from(SOURCES)
TIMES = st.sampled_from(
    [
        "2024-05-01T10:00:00Z",
        "2024-02-30T10:00:00Z",
        "2024-05-01T24:00:00",
        "9999-12-31T23:59:60-23:59",
        "0001-01-01T00:00:00+23:59",
    ]
)
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.just(10**400) | st.floats() | st.sampled_from([1e308, -0.0, 5e-324])
# lone surrogates are let in: JSON can write them as escapes, and the agent cannot write them out again
WORDS = st.sampled_from(["", "NaN", "1", "on", "true", "%", "°F", "A" * 300])
TEXTS = st.text(st.characters(exclude_categories=())) | TIMES | WORDS
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
CONTENT_TYPES = st.sampled_from(
    [
        "application/json",
        "application/cbor",
        "application/msgpack",
        "application/senml+json",
        "application/senml+cbor",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "text/plain; charset=utf-8",
        "image/png",
        "",
    ]
)


def documents_of(name: str) -> list[Any]:
    """The JSON documents among a format's seeds."""
    found = []
    for message in seeds_of(name):
        try:
            found.append(json.loads(message.payload))
        except ValueError:
            continue
    return found


def keys_in(document: Any) -> Iterator[str]:
    """All keys of a document, and its texts, which name units, methods and types."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            yield from keys_in(value)
    elif isinstance(document, list):
        for item in document:
            yield from keys_in(item)
    elif isinstance(document, str):
        yield document


def keys_of(name: str) -> st.SearchStrategy[str]:
    words = sorted({word for document in documents_of(name) for word in keys_in(document)}) or ["a"]
    return st.sampled_from(words) | TEXTS


def shaped(name: str) -> st.SearchStrategy[Any]:
    """Documents of anything, under the format's own keys."""
    keys = keys_of(name)
    return st.recursive(LEAVES | keys, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6))


@st.composite
def damaged(draw: st.DrawFn, name: str) -> Any:
    """A valid document with some of its parts replaced, doubled or taken out."""
    document = json.loads(json.dumps(draw(st.sampled_from(documents_of(name) or [{"a": 1}]))))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = document
        while isinstance(at, dict | list) and at:
            key: Any = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
            if isinstance(at[key], dict | list) and at[key] and draw(st.integers(0, 3)):
                at = at[key]
                continue
            change = draw(st.integers(0, 3))
            if change == 0:
                del at[key]
            elif change == 1 and isinstance(at, list):
                at.append(at[key])
            else:
                at[key] = draw(shaped(name))
            break
    return document


def topics_of(name: str) -> st.SearchStrategy[str]:
    own = st.sampled_from([message.topic for message in seeds_of(name)])
    changed = st.builds(
        lambda topic, level, place: "/".join([*topic.split("/")[:place], level, *topic.split("/")[place + 1 :]]),
        own,
        st.text(st.characters(exclude_characters="+#/\0", exclude_categories=("Cs",)), max_size=5),
        st.integers(0, 5),
    )
    return own | changed | st.text(st.characters(exclude_characters="+#\0", exclude_categories=("Cs",)), min_size=1)


@st.composite
def properties_of(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Content type and user properties, as a sender may set them."""
    if draw(st.booleans()):
        return dict(draw(st.sampled_from([message.properties for message in seeds_of(name)])))
    properties: dict[str, Any] = {}
    if draw(st.booleans()):
        properties["content_type"] = draw(CONTENT_TYPES | st.text(st.characters(exclude_categories=("Cs",))))
    if draw(st.booleans()):
        words = st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "1.0"]) | st.text(
            st.characters(exclude_categories=("Cs",))
        )
        properties["user"] = draw(st.lists(st.tuples(words, words), max_size=6))
    return properties


def encode(document: Any, how: str) -> bytes | None:
    """The document as bytes, or None where that encoding has no way to write it."""
    try:
        if how == "cbor":
            return cbor2.dumps(document)
        return msgspec.msgpack.encode(document) if how == "msgpack" else json.dumps(document).encode()
    except (ValueError, OverflowError, TypeError, cbor2.CBOREncodeError):
        return None


@st.composite
def messages(draw: st.DrawFn, name: str) -> Message:
    """A message of the format, more or less."""
    kind = draw(st.integers(0, 4))
    properties = draw(properties_of(name))
    if kind == 0:
        payload: bytes | None = draw(st.binary(max_size=200))
    elif kind == 1:
        payload = bytearray(draw(st.sampled_from(seeds_of(name))).payload)
        for _ in range(draw(st.integers(0, 4))):
            if payload:
                payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
        payload = bytes(payload[: draw(st.integers(0, len(payload)))] if draw(st.booleans()) else payload)
    else:
        how = draw(st.sampled_from(["json", "json", "cbor", "msgpack"]))
        payload = encode(draw(damaged(name) if kind > 2 else shaped(name)), how)
        if how != "json" and draw(st.booleans()):
            properties["content_type"] = f"application/{how}"
    return Message(draw(topics_of(name)), payload or b"", properties, draw(st.booleans()))


@EVERY_FORMAT
def test_the_format_has_valid_messages_to_start_from(name: str) -> None:
    assert name not in unseeded()
    subject = Subject(name)
    assert any(getattr(subject.hear(message), "events", ()) for message in seeds_of(name))


@EVERY_FORMAT
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_message_is_read_or_refused_by_a_rule(name: str, data: st.DataObject) -> None:
    subject = Subject(name, **data.draw(ANY_SOURCE))
    subject.hear(data.draw(messages(name)))


@EVERY_FORMAT
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_of_messages_is_read_or_refused_by_a_rule(name: str, data: st.DataObject) -> None:
    subject = Subject(name, **data.draw(ANY_SOURCE))
    for message in data.draw(st.lists(st.sampled_from(seeds_of(name)) | messages(name), min_size=2, max_size=6)):
        subject.hear(message)
