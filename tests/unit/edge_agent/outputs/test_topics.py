import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outputs.topics import MAX_TOPIC_BYTES, as_filter, fill, identifier
from fleet_contract.topics import filter_matches

TEXTS = st.text(st.characters(), min_size=1, max_size=40)


def test_the_placeholders_are_filled_in() -> None:
    assert fill("a/{device}/{pipeline}/{source}", "d", "p", "s") == "a/d/p/s"
    assert fill("a/{source}/{source}", "d", "p", "north/1") == "a/north/1/north/1"


def test_what_a_sensor_is_called_is_never_filled_in_again() -> None:
    assert fill("a/{pipeline}/{source}", "d", "p", "{device}") == "a/p/{device}"


@given(one=TEXTS, other=TEXTS)
def test_any_two_sensors_have_topics_of_their_own_that_mqtt_allows(one: str, other: str) -> None:
    made = fill("a/{source}", "d", "p", one)
    made.encode()
    assert not set(made) & set("+#\0")
    assert (made == fill("a/{source}", "d", "p", other)) == (one == other)


@given(source=TEXTS)
def test_the_filter_matches_every_topic_that_is_made(source: str) -> None:
    template = "a/{device}/x-{source}/y"
    assert filter_matches(as_filter(template, "d", "p"), fill(template, "d", "p", source))


def test_a_topic_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=str(MAX_TOPIC_BYTES)):
        fill("a/{source}", "d", "p", "ü" * MAX_TOPIC_BYTES)


@given(one=st.lists(TEXTS, min_size=1, max_size=3), other=st.lists(TEXTS, min_size=1, max_size=3))
def test_an_identifier_holds_what_home_assistant_allows_and_names_its_parts_alone(one: list[str], other: list[str]) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", identifier(*one))
    assert (identifier(*one) == identifier(*other)) == ("\0".join(one) == "\0".join(other))


def test_people_recognise_an_identifier() -> None:
    assert re.fullmatch(r"farm-1_frost_north_1_[0-9a-f]{8}", identifier("farm-1", "frost", "north/1"))
