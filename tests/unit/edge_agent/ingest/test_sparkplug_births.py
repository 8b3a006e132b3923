import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest import sparkplug_births as births
from edge_agent.ingest.sparkplug_births import Birth, Known, Node, after_birth, find_alias, make_birth

KNOWN = st.builds(
    Known,
    name=st.text(min_size=1, max_size=3),
    datatype=st.integers(0, 34),
    unit=st.none() | st.text(max_size=3),
    alias=st.none() | st.integers(0, 2**64 - 1),
)
NODES = st.builds(
    lambda devices, bd_seq: births.load(births.dump(Node(devices, {}, bd_seq))),
    st.dictionaries(st.text(max_size=3), st.lists(KNOWN, max_size=5).map(make_birth), max_size=4),
    st.none() | st.integers(0, 255),
)


def of(*names: str, first: int = 0) -> Birth:
    return make_birth([Known(name, 3, None, first + place) for place, name in enumerate(names)])


@given(NODES)
def test_a_stored_node_is_the_same_without_its_seq(node: Node) -> None:
    assert births.load(births.dump(msgspec.structs.replace(node, seq=5))) == node


@pytest.mark.parametrize("stored", [b"", b"\xc1", b"\x93\x02\xc0\x80", msgspec.msgpack.encode([1, None, {"": [["a"]]}])])
def test_what_another_release_has_stored_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError):
        births.load(stored)


def test_of_two_devices_that_break_the_rule_each_keeps_its_own_alias() -> None:
    node = after_birth(births.NOBODY, "", of("node", first=5), 0, 0)
    node = after_birth(node, "a", of("x", first=1), None, 1)
    node = after_birth(node, "b", of("y", first=1), None, 2)
    found = [find_alias(node, device, alias) for device, alias in (("a", 1), ("b", 1), ("", 1), ("a", 5), ("a", 6))]
    assert [known and known.name for known in found] == ["x", "y", "y", "node", None]
    again = find_alias(after_birth(node, "a", of("z", first=1), None, 3), "", 1)
    assert again is not None
    assert again.name == "z"


def test_births_beyond_the_bounds_are_not_kept_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(births, "MAX_DEVICES", 2)
    monkeypatch.setattr(births, "MAX_METRICS", 5)
    monkeypatch.setattr(births, "MAX_NAMES", 12)
    node = after_birth(births.NOBODY, "", of("n"), 0, 0)
    assert "long" not in after_birth(node, "long", of("x" * 12), None, 1).births
    assert "many" not in after_birth(node, "many", of(*"abcde"), None, 1).births
    for device in ("a", "b", "c"):
        node = after_birth(node, device, of("m"), None, 1)
    assert list(node.births) == ["", "a", "b"]
    node = after_birth(node, "a", of("k", first=9), None, 2)
    assert find_alias(node, "a", 9) is not None


def test_a_death_without_a_session_number_counts() -> None:
    node = after_birth(births.NOBODY, "", of("n"), 3, 0)
    assert births.after_death(node, 2) is None
    for bd_seq in (3, None):
        after = births.after_death(node, bd_seq)
        assert after is not None
        assert not after.born
