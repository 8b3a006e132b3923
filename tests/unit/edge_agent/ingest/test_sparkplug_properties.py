from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.ingest.port import Message
from edge_agent.ingest.sparkplug_schema import Payload
from tests.fuzz.invariants import Subject

KINDS = ("NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d", "NCMD/n")
TOPICS = [f"spBv1.0/g/{kind}" for kind in KINDS]
TIMES = st.sampled_from([0, 1, 1_700_000_000_123, 253_402_300_800_000, 2**63, 2**64 - 1])
NAMES = st.sampled_from(["bdSeq", "a", "a/b", "Temperature", "Node Control/Rebirth", ""]) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=4
)
FLOATS32 = st.floats(width=32)
VALUES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.builds(lambda value: {"int_value": value}, st.integers(0, 2**32 - 1)),
    st.builds(lambda value: {"long_value": value}, st.integers(0, 2**64 - 1)),
    st.builds(lambda value: {"float_value": value}, FLOATS32),
    st.builds(lambda value: {"double_value": value}, st.floats()),
    st.builds(lambda value: {"boolean_value": value}, st.booleans()),
    st.builds(lambda value: {"string_value": value}, NAMES),
)
BYTES = st.builds(lambda value: {"bytes_value": value}, st.binary(max_size=20))


@st.composite
def fill_metric(draw: st.DrawFn, metric: Any, depth: int = 0) -> None:
    """Set some fields of a metric, templates and data sets among them."""
    if draw(st.integers(0, 3)):
        metric.name = draw(NAMES)
    if draw(st.booleans()):
        metric.alias = draw(st.integers(0, 3) | st.integers(0, 2**64 - 1))
    if draw(st.booleans()):
        metric.timestamp = draw(TIMES)
    if draw(st.booleans()):
        metric.datatype = draw(st.integers(0, 35))
    for flag in ("is_historical", "is_transient", "is_null"):
        if not draw(st.integers(0, 4)):
            setattr(metric, flag, draw(st.booleans()))
    if not draw(st.integers(0, 3)):
        metric.properties.keys.extend(draw(st.lists(st.sampled_from(["engUnit", "Quality", "x"]), max_size=3)))
        for fields in draw(st.lists(VALUES, max_size=3)):
            metric.properties.values.add(**fields)
    kind = draw(st.integers(0, 7))
    if kind == 0 and depth < 3:
        metric.template_value.is_definition = draw(st.integers(0, 3)) == 0
        for _ in range(draw(st.integers(0, 3))):
            draw(fill_metric(metric.template_value.metrics.add(), depth + 1))
    elif kind == 1:
        table = metric.dataset_value
        table.columns.extend(draw(st.lists(NAMES, max_size=3)))
        table.types.extend(draw(st.lists(st.integers(0, 35), max_size=3)))
        for _ in range(draw(st.integers(0, 3))):
            row = table.rows.add()
            for fields in draw(st.lists(VALUES, max_size=4)):
                row.elements.add(**fields)
    else:
        for field, value in draw(VALUES | BYTES).items():
            setattr(metric, field, value)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Any payload that the schema allows."""
    payload = Payload()
    if draw(st.booleans()):
        payload.timestamp = draw(TIMES)
    if draw(st.booleans()):
        payload.seq = draw(st.integers(0, 255) | TIMES)
    for _ in range(draw(st.integers(0, 4))):
        draw(fill_metric(payload.metrics.add()))
    data: bytes = payload.SerializeToString()
    return data


@settings(max_examples=100, deadline=None)
@given(heard=st.lists(st.tuples(st.sampled_from(TOPICS), payloads()), min_size=1, max_size=6))
def test_any_payloads_of_the_schema_are_read_or_refused_by_a_rule(heard: list[tuple[str, bytes]]) -> None:
    subject = Subject("sparkplug")
    for topic, payload in heard:
        subject.hear(Message(topic, payload))
