from edge_agent.pipeline.idle import IdleWatch


def test_a_lane_is_due_once_after_the_time_out_since_its_last_event() -> None:
    watch = IdleWatch(10)
    watch.note("a")
    assert watch.due(0) == []
    watch.note("b")
    watch.note("a")
    assert watch.due(5) == []
    watch.note("b")
    assert watch.due(9) == []
    assert watch.due(15) == ["a"]
    assert watch.due(18.9) == []
    assert watch.due(19) == ["b"]
    assert watch.due(100) == []
