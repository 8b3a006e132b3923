"""The rules of a rollout, pure: how waves are planned, what a device's evidence means, when the gate opens or fails."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from fleet_contract.reasons import HOLDS
from fleet_contract.update_report import UpdateState
from fleet_controller.rollouts.machine import FAILED, DeviceState
from fleet_controller.settings import OnFailure

MAX_ERROR_SHARE: Final = 0.1
"""A model with more failed inferences than this share of the last health interval is not healthy."""
_CANARY = re.compile(r"(\d{1,6})(%?)")


class Kind(StrEnum):
    """What a rollout brings."""

    MODEL = "model"
    CONFIGURATION = "configuration"


class GateReason(StrEnum):
    """Why a gate failed."""

    DEVICE_REJECTED = "device_rejected"
    DEVICE_ROLLED_BACK = "device_rolled_back"
    ATTESTATION_TIMEOUT = "attestation_timeout"
    DIGEST_MISMATCH = "digest_mismatch"
    DEVICE_FORGOTTEN = "device_forgotten"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the operator chose for one rollout. Durations are seconds."""

    canary: str
    soak: float
    timeout: float
    """0 waits for ever."""
    on_failure: OnFailure
    health_stale: float
    shadow: bool = True
    """False: a device switches to the release without shadowing before."""
    max_drift: float | None = None
    """PSI of the release's answers against its baseline; a device is healthy only with one that is known and not above it.
    None: drift is not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the rollout brings: a release of a model, or a revision of a configuration."""

    model: str
    """The model's name, or the configuration's."""
    release: int
    """The release, or the revision."""
    digests: frozenset[str]
    """Of every variant: a device attests the one that it has picked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One device in a rollout. Times are seconds since 1970."""

    device: str
    wave: int
    state: DeviceState = DeviceState.PENDING
    reason: str | None = None
    detail: str | None = None
    previous: int | None = None
    previous_name: str | None = None
    """Of a configuration: the name that `previous` is a revision of."""
    revision: int | None = None
    """The desired revision that named the release."""
    assigned: float | None = None
    attested: float | None = None
    healthy_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one device now, about the rollout's model or configuration; None is unknown."""

    registered: bool = True
    online: bool = False
    revision: int = 0
    """The desired revision that the device says it has taken in."""
    running_release: int | None = None
    running_digest: str | None = None
    in_use: tuple[str, int] | None = None
    """Name and number of what answers there now, which for a configuration may be of another name."""
    update_release: int | None = None
    update_state: UpdateState | None = None
    update_reason: str | None = None
    update_detail: str | None = None
    health_received: float | None = None
    health_release: int | None = None
    """The release that the last health message speaks of."""
    inferences: int = 0
    errors: int = 0
    restarts: int = 0
    drift: float | None = None
    """PSI of the answers of that release against its baseline; None while the device calls it too few, or has no baseline."""


@dataclass(frozen=True, slots=True)
class StartWave:
    """Tell every device of this wave."""

    wave: int


@dataclass(frozen=True, slots=True)
class FailGate:
    """A device of the current wave has failed."""

    reason: GateReason
    device: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Every device of every wave has passed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The evidence is not complete yet."""

    missing: tuple[str, ...]
    """Devices of the current wave that have not passed."""


Decision = StartWave | FailGate | Finish | Wait


def check_canary(canary: str) -> str:
    """Return `canary`, or raise ValueError saying what it may look like."""
    match = _CANARY.fullmatch(canary)
    if match is None or (match[2] and int(match[1]) > 100):
        raise ValueError(
            f"canary {canary!r}: a number of devices such as '1', or a share such as '10%'; '0' is one wave for all"
        )
    return canary


def plan_waves(devices: Sequence[str], canary: str) -> tuple[tuple[str, ...], ...]:
    """Split the devices, in the order given and without repeats, into the canary wave and the rest; no wave is empty."""
    check_canary(canary)
    ordered = tuple(dict.fromkeys(devices))
    percent = canary.endswith("%")
    number = int(canary.rstrip("%"))
    # A share is rounded up: 10% of 5 devices is one canary, not none.
    size = -(-len(ordered) * number // 100) if percent else number
    size = min(size, len(ordered))
    return tuple(wave for wave in (ordered[:size], ordered[size:]) if wave)


def find_doubt(target: Target, plan: Plan, evidence: Evidence, attested: float, now: float) -> str | None:
    """Why the device is not known to be well with the release, in words that hold while nothing changes; None: it is well.

    Unknown is not healthy.
    """
    received = evidence.health_received
    if not evidence.online:
        return "it is offline"
    if evidence.update_release == target.release and evidence.update_state is UpdateState.PROBATION:
        return "it is in probation"
    if received is None or received < attested or evidence.health_release != target.release:
        return "it has not reported its health with it yet"
    if now - received > plan.health_stale:
        return f"its health is older than {plan.health_stale:g} s"
    if evidence.restarts > 0:
        return "its worker was restarted"
    if evidence.errors > MAX_ERROR_SHARE * (evidence.inferences + evidence.errors):
        return f"more than {MAX_ERROR_SHARE:.0%} of its inferences failed"
    if plan.max_drift is not None and evidence.drift is None:
        return "its answers are too few to judge their drift, or the release has no baseline"
    return None


def judge(target: Target, plan: Plan, member: Member, evidence: Evidence, now: float) -> Member:
    """Where a device stands, from its evidence. A device that was not told yet, has failed or has returned stays as it is."""
    if member.state is DeviceState.PENDING or member.state is DeviceState.RETURNED or member.state is DeviceState.REJECTED:
        return member
    if not evidence.registered:
        return _lost(member, GateReason.DEVICE_FORGOTTEN, "it is no longer a device of the fleet")
    if _refused(target, member, evidence):
        rolled_back = evidence.update_state is UpdateState.ROLLED_BACK
        return replace(
            member,
            state=DeviceState.REJECTED,
            reason=evidence.update_reason or str(evidence.update_state),
            detail=f"{'rolled back' if rolled_back else 'rejected'}: {evidence.update_detail or evidence.update_reason or ''}",
            healthy_since=None,
        )
    if evidence.running_release == target.release and evidence.running_digest in target.digests:
        attested = member.attested if member.attested is not None else now
        if _has_drifted(target, plan, evidence, attested):
            told = f"the PSI of its answers is {evidence.drift:.2f}, allowed is {plan.max_drift:g}"
            return _lost(replace(member, attested=attested), GateReason.DRIFT, told)
        doubt = find_doubt(target, plan, evidence, attested, now)
        if doubt is not None:
            return replace(member, state=DeviceState.ATTESTED, reason=None, detail=doubt, attested=attested, healthy_since=None)
        since = member.healthy_since if member.healthy_since is not None else now
        return replace(member, state=DeviceState.HEALTHY, reason=None, detail=None, attested=attested, healthy_since=since)
    if evidence.running_release == target.release:
        signed = " or ".join(sorted(target.digests))
        return _lost(member, GateReason.DIGEST_MISMATCH, f"it attests {evidence.running_digest}, signed is {signed}")
    if member.state is not DeviceState.LOST and evidence.online and _waits(target, evidence):
        # It has not failed: what it waits for may take longer than the time-out, which begins anew behind it.
        half = plan.timeout > 0 and member.assigned is not None and now - member.assigned > plan.timeout / 2
        return replace(
            member,
            state=DeviceState.ASSIGNED,
            reason=evidence.update_reason,
            detail=evidence.update_detail,
            assigned=now if half else member.assigned,
            attested=None,
            healthy_since=None,
        )
    if plan.timeout > 0 and member.assigned is not None and now - member.assigned > plan.timeout:
        return _lost(member, GateReason.ATTESTATION_TIMEOUT, f"it has not attested the release within {plan.timeout:g} s")
    if member.state is DeviceState.LOST:
        return member
    return replace(member, state=DeviceState.ASSIGNED, reason=None, detail=None, attested=None, healthy_since=None)


def _has_drifted(target: Target, plan: Plan, evidence: Evidence, attested: float) -> bool:
    if plan.max_drift is None or evidence.drift is None or evidence.drift <= plan.max_drift:
        return False
    return evidence.health_release == target.release and (evidence.health_received or 0.0) >= attested


def decide(plan: Plan, wave: int, members: Sequence[Member], now: float) -> Decision:
    """What a running rollout does now; `wave` is the one under way (-1 before the first)."""
    for member in members:
        if member.wave <= wave and member.state in FAILED:
            return FailGate(_gate_reason(member), member.device, f"{member.device}: {member.reason}: {member.detail}")
    missing = tuple(member.device for member in members if member.wave <= wave and not _passed(plan, member, now))
    if missing:
        return Wait(missing)
    if any(member.wave > wave for member in members):
        return StartWave(wave + 1)
    return Finish()


def retried(member: Member, now: float) -> Member:
    """A device at a resume: one that was lost gets its time again; a refusal is the device's own and stands."""
    if member.state is not DeviceState.LOST:
        return member
    return replace(
        member, state=DeviceState.ASSIGNED, reason=None, detail=None, assigned=now, attested=None, healthy_since=None
    )


def _passed(plan: Plan, member: Member, now: float) -> bool:
    return member.state is DeviceState.HEALTHY and member.healthy_since is not None and now - member.healthy_since >= plan.soak


def _waits(target: Target, evidence: Evidence) -> bool:
    """Whether the device says that a condition of its own holds this update back."""
    waiting = evidence.update_release == target.release and evidence.update_state is UpdateState.WAITING
    return waiting and evidence.update_reason in HOLDS


def _refused(target: Target, member: Member, evidence: Evidence) -> bool:
    if evidence.update_release != target.release:
        return False
    if evidence.update_state not in (UpdateState.REJECTED, UpdateState.ROLLED_BACK):
        return False
    # A report from before the device took in this assignment speaks of an earlier attempt.
    return member.revision is None or evidence.revision >= member.revision


def _lost(member: Member, reason: GateReason, detail: str) -> Member:
    return replace(member, state=DeviceState.LOST, reason=reason, detail=detail, healthy_since=None)


def _gate_reason(member: Member) -> GateReason:
    if member.state is DeviceState.REJECTED:
        rolled_back = (member.detail or "").startswith("rolled back")
        return GateReason.DEVICE_ROLLED_BACK if rolled_back else GateReason.DEVICE_REJECTED
    return GateReason(member.reason) if member.reason else GateReason.ATTESTATION_TIMEOUT
