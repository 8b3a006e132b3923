"""Every message goes to JSON and back, fits the schema that is published for it, and bears fields of a newer release."""

import itertools
import json
import typing
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet_contract.messages import Message, MessageError, decode, encode, to_ranges
from fleet_contract.reasons import MEANING, Reason
from fleet_contract.schema import MESSAGES, generate
from fleet_contract.topics import Down, Up
from fleet_contract.version import CONTRACT_HIGH, CONTRACT_LOW, HISTORY

DOCS = Path(__file__).parents[2] / "docs"
# JSON knows no lone surrogates, and numbers that every reader can hold are those of 53 bits.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**53), 2**53)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | FLOATS | TEXTS
st.register_type_strategy(int, NUMBERS)
st.register_type_strategy(float, FLOATS)
st.register_type_strategy(str, TEXTS)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if kind is Any:
        return ANYTHING
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return messages(kind)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return st.dictionaries(values(parts[0]), values(parts[1]), max_size=3)
    if origin is tuple and parts[-1] is Ellipsis:
        return st.lists(values(parts[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, parts))
    if parts:
        return st.one_of(*map(values, parts))
    return st.from_type(kind)


def messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Messages of one type, with optional fields given or left out."""
    fields = msgspec.structs.fields(kind)
    return st.fixed_dictionaries(
        {field.name: values(field.type) for field in fields if field.required},
        optional={field.name: values(field.type) for field in fields if not field.required},
    ).map(lambda arguments: kind(**arguments))


def published_schema(kind: type[Message]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((DOCS / "schemas" / f"{kind.__name__.lower()}.json").read_text())
    return schema


every_message = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@every_message
def test_a_message_comes_back_from_json_as_it_was(kind: type[Message]) -> None:
    @few
    @given(messages(kind))
    def check(message: Message) -> None:
        assert decode(encode(message), kind) == message

    check()


@every_message
def test_a_message_fits_its_published_schema(kind: type[Message]) -> None:
    validator = jsonschema.Draft202012Validator(published_schema(kind))

    @few
    @given(messages(kind))
    def check(message: Message) -> None:
        validator.validate(json.loads(encode(message)))

    check()


@every_message
def test_a_message_without_a_required_field_fits_neither_the_schema_nor_the_type(kind: type[Message]) -> None:
    validator = jsonschema.Draft202012Validator(published_schema(kind))
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]

    @few
    @given(messages(kind), st.sampled_from(required))
    def check(message: Message, field: str) -> None:
        table = json.loads(encode(message))
        del table[field]
        assert not validator.is_valid(table)
        with pytest.raises(MessageError, match=field):
            decode(json.dumps(table).encode(), kind)

    check()


@every_message
def test_a_field_of_a_newer_release_is_ignored_and_fits_the_schema(kind: type[Message]) -> None:
    validator = jsonschema.Draft202012Validator(published_schema(kind))

    @few
    @given(messages(kind), ANYTHING)
    def check(message: Message, news: Any) -> None:
        table = json.loads(encode(message)) | {"a_field_of_tomorrow": news}
        assert decode(json.dumps(table).encode(), kind) == message
        validator.validate(table)

    check()


@every_message
def test_bytes_that_are_no_message_raise_a_message_error_and_nothing_else(kind: type[Message]) -> None:
    @few
    @given(st.binary(max_size=200))
    def check(payload: bytes) -> None:
        with pytest.raises(MessageError, match=kind.__name__):
            decode(payload, kind)

    check()


def test_nested_arrays_beyond_all_bounds_are_a_message_error() -> None:
    with pytest.raises(MessageError):
        decode(b'{"x":' + b"[" * 1_000_000, MESSAGES[0])


def test_every_channel_has_a_message_and_every_message_a_schema() -> None:
    channels = {channel.value for channel in Up} | {channel.value for channel in Down}
    assert {kind.__name__.lower() for kind in MESSAGES} == channels
    assert {path.stem for path in (DOCS / "schemas").glob("*.json")} == channels


def test_every_reason_code_has_a_meaning_of_its_own() -> None:
    assert set(MEANING) == set(Reason)
    assert all(text.endswith(".") for text in MEANING.values())
    assert len(set(MEANING.values())) == len(MEANING)


def test_the_published_documents_are_what_the_types_say() -> None:
    stale = [path.name for path, text in generate(DOCS).items() if path.read_text() != text]
    assert stale == [], "run `make schemas`"


def test_the_history_names_every_version_that_is_spoken() -> None:
    assert set(range(CONTRACT_LOW, CONTRACT_HIGH + 1)) <= set(HISTORY)


@given(st.lists(st.integers(1, 60)))
def test_ranges_hold_exactly_the_numbers_that_were_given(numbers: list[int]) -> None:
    ranges = to_ranges(numbers)
    assert {number for first, last in ranges for number in range(first, last + 1)} == set(numbers)
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(ranges))
