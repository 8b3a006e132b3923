from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.events import Decoded, Reading
from edge_agent.ingest.identity import identify, result_id, sample_id


def reading(device: str) -> tuple[Reading, ...]:
    return (Reading(device, "x", 1, None, None, "x"),)


def fresh() -> str:
    return "made-up"


def test_an_events_own_id_is_its_id() -> None:
    identity = identify("t", b"1", Decoded(reading("d"), "e-1", "2024-01-01T00:00:00Z"), fresh)
    assert (identity.event_id, identity.fresh) == ("e-1", False)


def test_own_ids_of_two_sensors_or_topics_are_not_repeats_of_each_other() -> None:
    keys = {identify(topic, b"", Decoded(reading(device), "1"), fresh).key for topic in ("t", "u") for device in ("a", "b")}
    assert len(keys) == 4


def test_an_event_with_a_time_alone_is_known_by_topic_and_payload() -> None:
    identity = identify("t", b"p", Decoded(reading("d"), None, "2024-01-01T00:00:00Z"), fresh)
    assert identity.event_id == blake2b(b"t\0p", digest_size=16).hexdigest()
    assert not identity.fresh


def test_an_event_without_id_and_time_gets_a_fresh_id() -> None:
    identity = identify("t", b"p", Decoded(reading("d")), fresh)
    assert (identity.event_id, identity.fresh, len(identity.key)) == ("made-up", True, 16)


def test_an_endless_own_id_is_replaced_by_its_hash() -> None:
    assert len(identify("t", b"", Decoded(reading("d"), "x" * 1000), fresh).event_id) == 32


def test_samples_of_one_message_have_ids_of_their_own() -> None:
    assert [sample_id("e", index) for index in range(3)] == ["e", "e#1", "e#2"]


def test_a_result_id_can_be_recomputed_by_anyone() -> None:
    expected = blake2b(b'["frost","s1","count","a","b"]', digest_size=16).hexdigest()
    assert result_id("frost", "s1", "count", "a", "b") == expected


@given(st.lists(st.tuples(st.text(), st.text(), st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_different_windows_have_different_result_ids(parts: list[tuple[str, str, str, str]]) -> None:
    one, other = ((pipeline, source, "count", first, last) for pipeline, source, first, last in parts)
    assert result_id(*one) != result_id(*other)
