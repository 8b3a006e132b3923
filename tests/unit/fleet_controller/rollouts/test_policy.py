"""The rules of a rollout: waves, evidence, gates."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState
from fleet_controller.rollouts.machine import DeviceState
from fleet_controller.rollouts.policy import (
    Evidence,
    FailGate,
    Finish,
    GateReason,
    Member,
    Plan,
    StartWave,
    Target,
    Wait,
    decide,
    judge,
    plan_waves,
    retried,
)
from fleet_controller.settings import OnFailure

TARGET = Target(model="frost", release=2, digests=frozenset({"sha256:new", "sha256:new-int8"}))
PLAN = Plan(canary="1", soak=60.0, timeout=600.0, on_failure=OnFailure.PAUSE, health_stale=30.0)
TOLD = Member(device="a", wave=0, state=DeviceState.ASSIGNED, revision=5, assigned=1000.0)
WELL = Evidence(
    online=True,
    revision=5,
    running_release=2,
    running_digest="sha256:new",
    health_received=1100.0,
    health_release=2,
    inferences=10,
)


@pytest.mark.parametrize(
    ("canary", "waves"),
    [
        ("1", (1, 9)),
        ("3", (3, 7)),
        ("10%", (1, 9)),
        ("11%", (2, 8)),
        ("0", (10,)),
        ("0%", (10,)),
        ("100%", (10,)),
        ("99", (10,)),
    ],
)
def test_waves_are_the_canary_and_the_rest(canary: str, waves: tuple[int, ...]) -> None:
    assert tuple(len(wave) for wave in plan_waves([str(number) for number in range(10)], canary)) == waves


@pytest.mark.parametrize("canary", ["", "-1", "101%", "one", "1.5", "10 %"])
def test_a_canary_that_is_no_size_is_refused(canary: str) -> None:
    with pytest.raises(ValueError, match="canary"):
        plan_waves(["a"], canary)


@given(st.lists(st.text(max_size=3)), st.integers(0, 200).map(str) | st.integers(0, 100).map("{}%".format))
def test_waves_hold_every_device_once_and_none_is_empty(devices: list[str], canary: str) -> None:
    waves = plan_waves(devices, canary)
    assert [device for wave in waves for device in wave] == list(dict.fromkeys(devices))
    assert all(waves)
    assert len(waves) <= 2


@pytest.mark.parametrize("digest", ["sha256:new", "sha256:new-int8"])
def test_the_release_with_the_digest_of_any_variant_and_fresh_health_is_healthy(digest: str) -> None:
    judged = judge(TARGET, PLAN, replace(TOLD, attested=1050.0), replace(WELL, running_digest=digest), 1101.0)
    assert judged.state is DeviceState.HEALTHY
    assert judged.healthy_since == 1101.0


@pytest.mark.parametrize(
    ("doubt", "told"),
    [
        ({"online": False}, "it is offline"),
        ({"update_release": 2, "update_state": UpdateState.PROBATION}, "it is in probation"),
        ({"health_received": None}, "it has not reported its health with it yet"),
        ({"health_received": 1069.0}, "its health is older than 30 s"),
        ({"health_received": 1049.0}, "it has not reported its health with it yet"),
        ({"health_release": 1}, "it has not reported its health with it yet"),
        ({"health_release": None}, "it has not reported its health with it yet"),
        ({"restarts": 1}, "its worker was restarted"),
        ({"errors": 2}, "more than 10% of its inferences failed"),
    ],
)
def test_whatever_is_unknown_or_bad_is_not_healthy_is_told_and_starts_the_soak_again(
    doubt: dict[str, object], told: str
) -> None:
    before = replace(TOLD, state=DeviceState.HEALTHY, attested=1050.0, healthy_since=1060.0)
    judged = judge(TARGET, PLAN, before, replace(WELL, **doubt), 1101.0)
    assert judged.state is DeviceState.ATTESTED
    assert (judged.healthy_since, judged.detail) == (None, told)


def test_the_right_release_with_other_bytes_is_a_failure() -> None:
    judged = judge(TARGET, PLAN, TOLD, replace(WELL, running_digest="sha256:other"), 1101.0)
    assert (judged.state, judged.reason) == (DeviceState.LOST, GateReason.DIGEST_MISMATCH)


@pytest.mark.parametrize(
    ("state", "reason"),
    [(UpdateState.REJECTED, GateReason.DEVICE_REJECTED), (UpdateState.ROLLED_BACK, GateReason.DEVICE_ROLLED_BACK)],
)
def test_a_refusal_fails_the_gate_with_the_device_and_its_own_reason(state: UpdateState, reason: GateReason) -> None:
    refusal = Evidence(
        online=True, revision=5, running_release=1, update_release=2, update_state=state, update_reason="golden_mismatch"
    )
    judged = judge(TARGET, PLAN, TOLD, refusal, 1101.0)
    assert (judged.state, judged.reason) == (DeviceState.REJECTED, "golden_mismatch")
    decision = decide(PLAN, 0, [judged], 1101.0)
    assert isinstance(decision, FailGate)
    assert (decision.reason, decision.device) == (reason, "a")
    assert "golden_mismatch" in decision.detail


def test_a_refusal_from_before_this_assignment_does_not_count() -> None:
    earlier = Evidence(online=True, revision=4, update_release=2, update_state=UpdateState.REJECTED)
    assert judge(TARGET, PLAN, TOLD, earlier, 1101.0).state is DeviceState.ASSIGNED


def test_a_device_that_does_not_attest_in_time_is_lost_and_a_resume_gives_it_its_time_again() -> None:
    assert judge(TARGET, PLAN, TOLD, Evidence(), 1600.0).state is DeviceState.ASSIGNED
    lost = judge(TARGET, PLAN, TOLD, Evidence(), 1601.0)
    assert (lost.state, lost.reason) == (DeviceState.LOST, GateReason.ATTESTATION_TIMEOUT)
    again = retried(lost, 2000.0)
    assert judge(TARGET, PLAN, again, Evidence(), 2001.0).state is DeviceState.ASSIGNED
    assert judge(TARGET, replace(PLAN, timeout=0.0), TOLD, Evidence(), 1e9).state is DeviceState.ASSIGNED


def test_a_resume_does_not_undo_a_refusal() -> None:
    refused = replace(TOLD, state=DeviceState.REJECTED, reason="golden_mismatch")
    assert retried(refused, 2000.0) == refused
    assert judge(TARGET, PLAN, refused, WELL, 1101.0) == refused


def test_a_forgotten_device_is_lost() -> None:
    assert judge(TARGET, PLAN, TOLD, replace(WELL, registered=False), 1101.0).reason == GateReason.DEVICE_FORGOTTEN


def test_the_next_wave_waits_for_the_soak_of_every_device() -> None:
    soaked = replace(TOLD, state=DeviceState.HEALTHY, healthy_since=1000.0)
    soaking = replace(soaked, device="b", healthy_since=1001.0)
    later = Member(device="c", wave=1)
    assert decide(PLAN, 0, [soaked, soaking, later], 1060.0) == Wait(("b",))
    assert decide(PLAN, 0, [soaked, soaking, later], 1061.0) == StartWave(1)
    assert decide(PLAN, 1, [soaked, soaking], 1061.0) == Finish()


@pytest.mark.parametrize(
    ("drift", "state"), [(None, DeviceState.ATTESTED), (0.2, DeviceState.HEALTHY), (0.3, DeviceState.LOST)]
)
def test_where_drift_is_a_gate_a_device_must_know_it_and_one_above_fails(drift: float | None, state: DeviceState) -> None:
    plan = replace(PLAN, max_drift=0.25)
    judged = judge(TARGET, plan, TOLD, replace(WELL, drift=drift), 1100.0)
    assert judged.state is state
    assert ("too few to judge" in (judged.detail or "")) == (drift is None)
    assert judge(TARGET, PLAN, TOLD, replace(WELL, drift=drift), 1100.0).state is DeviceState.HEALTHY
    decision = decide(plan, 0, [judged], 1100.0)
    assert (isinstance(decision, FailGate) and decision.reason is GateReason.DRIFT) == (state is DeviceState.LOST)


def test_drift_of_the_release_before_fails_no_gate() -> None:
    plan = replace(PLAN, max_drift=0.25)
    assert judge(TARGET, plan, TOLD, replace(WELL, drift=9.0, health_release=1), 1100.0).state is DeviceState.ATTESTED


_states = st.sampled_from([*UpdateState, None])
_evidence = st.builds(
    Evidence,
    registered=st.sampled_from([True, True, True, True, False]),
    online=st.booleans(),
    revision=st.integers(0, 10),
    running_release=st.sampled_from([None, 1, 2]),
    running_digest=st.sampled_from([None, "sha256:old", "sha256:new"]),
    update_release=st.sampled_from([None, 1, 2]),
    update_state=_states,
    health_received=st.none() | st.floats(990.0, 1300.0),
    health_release=st.sampled_from([None, 1, 2]),
    inferences=st.integers(0, 20),
    errors=st.integers(0, 3),
    restarts=st.sampled_from([0, 0, 1]),
)
# Mostly good evidence, so that runs get somewhere.
_mostly_well = st.one_of(*[st.just("well")] * 4, _evidence)


@given(st.integers(1, 6), st.sampled_from(["0", "1", "2", "50%"]), st.data())
def test_whatever_the_evidence_waves_start_one_by_one_and_a_failed_device_stops_them(
    size: int, canary: str, data: st.DataObject
) -> None:
    waves = plan_waves([f"d{number}" for number in range(size)], canary)
    members = [Member(device=device, wave=number) for number, wave in enumerate(waves) for device in wave]
    wave, now, passed = -1, 1000.0, set()
    for _ in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.floats(0.0, 70.0))
        judged = []
        for member in members:
            drawn = data.draw(_mostly_well)
            evidence = replace(WELL, revision=member.revision or 0, health_received=now) if drawn == "well" else drawn
            judged.append(judge(TARGET, PLAN, member, evidence, now))
        members = judged
        assert all((member.state is DeviceState.PENDING) == (member.wave > wave) for member in members)
        failed = [member for member in members if member.state in (DeviceState.REJECTED, DeviceState.LOST)]
        passed = {
            member.device
            for member in members
            if member.state is DeviceState.HEALTHY and now - (member.healthy_since or now) >= PLAN.soak
        }
        decision = decide(PLAN, wave, members, now)
        if failed:
            assert isinstance(decision, FailGate)
            assert decision.device in {member.device for member in failed}
            return
        if isinstance(decision, StartWave):
            assert decision.wave == wave + 1
            assert all(member.device in passed for member in members if member.wave <= wave)
            wave = decision.wave
            members = [
                replace(member, state=DeviceState.ASSIGNED, assigned=now, revision=5) if member.wave == wave else member
                for member in members
            ]
        if isinstance(decision, Finish):
            assert passed == {member.device for member in members}
            return


def test_a_device_that_waits_for_a_window_is_not_lost_and_has_its_time_behind_it() -> None:
    waits = Evidence(
        online=True,
        revision=5,
        update_release=2,
        update_state=UpdateState.WAITING,
        update_reason=Reason.OUTSIDE_WINDOW,
        update_detail="at two",
    )
    early = judge(TARGET, PLAN, TOLD, waits, 1200.0)
    assert (early.state, early.reason, early.detail, early.assigned) == (
        DeviceState.ASSIGNED,
        Reason.OUTSIDE_WINDOW,
        "at two",
        1000.0,
    )
    late = judge(TARGET, PLAN, early, waits, 5000.0)
    assert (late.state, late.assigned) == (DeviceState.ASSIGNED, 5000.0)
    begun = judge(TARGET, PLAN, late, replace(waits, update_state=UpdateState.FETCHING, update_reason=None), 5001.0)
    assert (begun.reason, begun.detail) == (None, None)
    assert judge(TARGET, PLAN, late, replace(waits, online=False), 5601.0).state is DeviceState.LOST
    failing = replace(waits, update_reason=Reason.DOWNLOAD_FAILED)
    assert judge(TARGET, PLAN, TOLD, failing, 1601.0).state is DeviceState.LOST
