"""The pure rules, over all values that Hypothesis can think of."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.updates.ledger import Floors, Installed, UpdateRecord
from edge_agent.updates.machine import FINAL
from edge_agent.updates.policy import (
    PROGRESS_BYTES,
    Action,
    choose,
    digests_to_keep,
    interrupted_too_often,
    made_progress,
    may_retry,
    retry_delay,
)
from edge_agent.updates.trust.job import MetadataValid
from fleet_contract.messages import DesiredModel
from fleet_contract.update_report import UpdateState as State

releases = st.integers(1, 5)
desired = st.none() | releases.map(lambda release: DesiredModel(model="frost", release=release))
records = st.none() | st.builds(
    UpdateRecord,
    model=st.just("frost"),
    release=releases,
    state=st.sampled_from(State),
    since=st.just(""),
    digest=st.text("abc"),
)
installed = st.none() | st.builds(
    Installed, model=st.just("frost"), release=releases, version=st.just("1.0.0"), digest=st.text("abc"), since=st.just("")
)


@given(desired, records, installed, st.integers(0, 6))
def test_nothing_is_started_that_was_refused_or_is_under_way(
    wanted: DesiredModel | None, record: UpdateRecord | None, active: Installed | None, floor: int
) -> None:
    action = choose(wanted, record, active, floor)
    if wanted is None:
        assert action in (Action.NOTHING, Action.REMOVE)
        assert (action is Action.NOTHING) == (record is None and active is None)
    elif record is not None and record.release == wanted.release and record.state is not State.COMMITTED:
        assert action is Action.NOTHING
    if action is Action.START:
        assert wanted is not None
        assert active is None or active.release != wanted.release


@given(records, installed, releases, st.integers(0, 6))
def test_a_release_below_the_floor_is_never_fetched_anew(
    record: UpdateRecord | None, active: Installed | None, release: int, floor: int
) -> None:
    action = choose(DesiredModel(model="frost", release=release), record, active, floor)
    if release < floor and (record is None or record.release != release):
        assert action in (Action.REFUSE, Action.ADOPT)


def test_a_rejected_release_is_tried_again_after_desired_has_named_another() -> None:
    active = Installed(model="frost", release=2, version="2.0.0", digest="d2", since="")
    rejected = UpdateRecord(model="frost", release=3, since="", state=State.REJECTED)
    three, two = DesiredModel(model="frost", release=3), DesiredModel(model="frost", release=2)
    assert choose(three, rejected, active, 0) is Action.NOTHING
    assert choose(two, rejected, active, 0) is Action.ADOPT
    adopted = UpdateRecord(model="frost", release=2, since="", state=State.COMMITTED)
    assert choose(three, adopted, active, 0) is Action.START


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(10, 1000), st.floats(0, 1))
def test_the_delay_stays_within_its_bounds(attempts: int, shortest: float, longest: float, jitter: float) -> None:
    assert 0.5 * min(shortest, longest) <= retry_delay(attempts, shortest, longest, jitter) <= longest


@given(st.integers(1, 50), st.floats(0, 1))
def test_the_delay_never_shrinks_with_more_attempts(attempts: int, jitter: float) -> None:
    assert retry_delay(attempts, 5, 600, jitter) <= retry_delay(attempts + 1, 5, 600, jitter)


@given(st.integers(1, 10), st.floats(0, 1), st.floats(0, 1e9))
def test_a_server_is_left_alone_for_as_long_as_it_asks_but_no_longer_than_the_longest(
    attempts: int, jitter: float, asked: float
) -> None:
    delay = retry_delay(attempts, 5, 600, jitter, asked)
    assert min(asked, 600) <= delay <= 600
    assert delay >= retry_delay(attempts, 5, 600, jitter)


def test_attempts_are_bounded_and_progress_is_more_than_a_few_bytes() -> None:
    assert may_retry(4, 5)
    assert not may_retry(5, 5)
    assert not made_progress(100, 101)
    assert made_progress(100, 100 + PROGRESS_BYTES)


@given(st.sampled_from(State), st.integers(0, 10))
def test_only_an_unfinished_update_is_given_up_for_interruptions(state: State, interruptions: int) -> None:
    record = UpdateRecord(model="frost", release=1, since="", state=state, interruptions=interruptions)
    assert interrupted_too_often(record, 5) == (state not in FINAL and interruptions >= 5)


@given(installed, installed, records)
def test_the_bundles_that_answer_or_may_have_to_are_kept(
    active: Installed | None, previous: Installed | None, record: UpdateRecord | None
) -> None:
    kept = digests_to_keep(active, previous, record=record)
    assert {item.digest for item in (active, previous) if item is not None} <= kept
    assert len(kept) <= 3


def seen(version: int, *, keys: str = "a", floor: int = 0, time: float = 0.0) -> MetadataValid:
    return MetadataValid(timestamp_version=version, timestamp_keys=keys, release_floor=floor, reference_time=time)


@given(st.lists(st.tuples(st.sampled_from(["frost", "leak"]), st.integers(0, 9), st.integers(0, 9), st.floats(0, 9))))
def test_floors_never_sink(steps: list[tuple[str, int, int, float]]) -> None:
    floors = Floors()
    for model, floor, version, time in steps:
        before = (floors.timestamp_version, dict(floors.releases), floors.last_time)
        floors.take_in(model, seen(version, floor=floor, time=time))
        assert floors.timestamp_version >= max(before[0], version)
        assert floors.last_time >= max(before[2], time)
        assert all(floors.releases[name] >= value for name, value in before[1].items())
        assert floors.releases[model] >= floor


def test_a_timestamp_key_that_root_took_away_leaves_no_version_behind_but_every_floor() -> None:
    floors = Floors(timestamp_version=7, releases={"frost": 3})
    assert floors.take_in("frost", seen(2**40))
    assert (floors.timestamp_version, floors.timestamp_keys) == (2**40, "a")
    assert floors.take_in("frost", seen(8, keys="b"))
    assert (floors.timestamp_version, floors.timestamp_keys, floors.releases) == (8, "b", {"frost": 3})
    assert not floors.take_in("frost", seen(8, keys="b"))


def test_every_model_s_floor_is_learned_whatever_the_metadata_was_asked_about() -> None:
    floors = Floors(releases={"frost": 3, "leak": 1})
    told = msgspec.structs.replace(seen(2), floors={"frost": 2, "leak": 4}, expires=9.0)
    assert floors.take_in(None, told)
    assert (floors.releases, floors.expires) == ({"frost": 3, "leak": 4}, 9.0)
