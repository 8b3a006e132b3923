from edge_agent.ingest.recent import RecentKeys


def test_a_repeat_is_known_until_it_is_the_oldest_of_too_many() -> None:
    keys = RecentKeys([b"a", b"b"], limit=3)
    assert not keys.add(b"a")
    assert keys.add(b"c")
    assert keys.add(b"d")
    assert b"a" not in keys
    assert len(keys) == 3
    assert keys.add(b"a")
