from edge_agent.slots import Slots
from fleet_contract.messages import Birth, LinkState, decode


def make(starts: int) -> Slots:
    return Slots(
        "d",
        "s",
        starts,
        revision=lambda: 4,
        models=lambda: (),
        updates=lambda: (),
        feedback=lambda: 0,
        holds=lambda: ("frost",),
        trust=lambda: None,
    )


def test_each_will_is_newer_than_its_birth_and_older_than_the_next_birth() -> None:
    order = []
    for starts in (1, 2):
        slots = make(starts)
        for _ in range(3):
            will = decode(slots.will().payload, Birth)
            order += [slots.birth().counter, will.counter]
            assert will.state is LinkState.OFFLINE
    assert order == sorted(order)
    assert len(set(order)) == len(order)


def test_leaving_says_offline_with_a_newer_counter() -> None:
    slots = make(1)
    slots.will()
    online = slots.birth()
    slots.leaving = True
    assert (slots.birth().state, slots.birth().counter) == (LinkState.OFFLINE, online.counter + 1)


def test_reported_counts_up_over_restarts() -> None:
    first = make(1)
    counters = [first.reported().counter, first.reported().counter, make(2).reported().counter]
    assert counters == sorted(set(counters))
    assert first.reported().revision == 4
