"""Rollouts in the database, and the evidence that intake has put there."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from fleet_contract.progress_text import describe_progress
from fleet_contract.update_report import UpdateState
from fleet_controller.rollouts.machine import ACTIVE, DeviceState, RolloutState
from fleet_controller.rollouts.policy import Evidence, Kind, Member, Plan, Target
from fleet_controller.settings import OnFailure
from fleet_controller.store.slots import Channel, read_slots
from fleet_controller.store.tables import configurations, devices, releases, rollout_devices, rollouts

_S = TypeVar("_S", bound=Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout. Times are seconds since 1970."""

    id: int
    kind: Kind = Kind.MODEL
    model: str
    release: int
    version: str
    digest: str
    """Of the first variant."""
    digests: tuple[str, ...]
    """Of every variant."""
    plan: Plan
    state: RolloutState
    wave: int
    """The wave under way, counted from 0; -1 before the first."""
    waves: int
    reason: str | None
    detail: str | None
    operator: str | None
    created: float
    changed: float

    @property
    def target(self) -> Target:
        """What it brings."""
        return Target(model=self.model, release=self.release, digests=frozenset((self.digest, *self.digests)))


@dataclass(frozen=True, slots=True)
class Published:
    """What a rollout needs to know of a release."""

    release: int
    version: str
    digest: str
    digests: tuple[str, ...]
    has_baseline: bool
    """Whether devices can say how far its answers have moved."""


class _Birth(Struct):
    state: str = ""


class _Running(Struct):
    model: str
    release: int
    digest: str


class _Update(Struct):
    model: str
    release: int
    state: str
    reason: str | None = None
    detail: str | None = None
    variant: str | None = None
    picked: str | None = None
    not_picked: dict[str, str] = msgspec.field(default_factory=dict)
    until: str | None = None
    attempts: int = 0
    fetched_bytes: int = 0
    total_bytes: int = 0
    inputs: int = 0
    inputs_wanted: int = 0


class _Configuration(Struct):
    name: str = ""
    revision: int = 0
    state: str = ""
    reason: str | None = None
    detail: str | None = None
    running_name: str = ""
    running_revision: int = 0
    running_digest: str = ""


class _Reported(Struct):
    revision: int = 0
    models: tuple[_Running, ...] = ()
    updates: tuple[_Update, ...] = ()
    configuration: _Configuration | None = None


class _Sketch(Struct):
    name: str
    psi: float | None = None


class _Drift(Struct):
    judged: bool = False
    worst: tuple[_Sketch, ...] = ()

    @property
    def of_outputs(self) -> float | None:
        """The PSI of the answers that have moved most; None while the device calls it too few inputs."""
        known = [item.psi for item in self.worst if item.psi is not None and item.name.startswith("output.")]
        return max(known, default=None) if self.judged else None


class _ModelHealth(Struct):
    model: str
    release: int
    inferences: int = 0
    errors: int = 0
    restarts: int = 0
    drift: _Drift | None = None


class _Health(Struct):
    models: tuple[_ModelHealth, ...] = ()


def insert(connection: Connection, rollout: Rollout, members: Sequence[Member]) -> int:
    """Store a new rollout (its `id` is ignored); returns its id."""
    values = _to_row(rollout)
    del values["id"]
    number = connection.execute(sa.insert(rollouts).values(**values).returning(rollouts.c.id)).scalar_one()
    connection.execute(sa.insert(rollout_devices), [_member_row(member) | {"rollout": number} for member in members])
    return int(number)


def save(connection: Connection, rollout: Rollout) -> None:
    """Store a rollout's own fields."""
    connection.execute(sa.update(rollouts).where(rollouts.c.id == rollout.id).values(**_to_row(rollout)))


def save_members(connection: Connection, rollout: int, members: Iterable[Member]) -> None:
    """Store these devices of a rollout."""
    for member in members:
        connection.execute(
            sa.update(rollout_devices)
            .where(rollout_devices.c.rollout == rollout, rollout_devices.c.device == member.device)
            .values(**_member_row(member))
        )


def read(connection: Connection, rollout: int) -> Rollout | None:
    """One rollout."""
    row = connection.execute(sa.select(rollouts).where(rollouts.c.id == rollout)).first()
    return _from_row(row) if row is not None else None


def read_all(connection: Connection, limit: int = 100) -> list[Rollout]:
    """The newest rollouts, newest first."""
    return [_from_row(row) for row in connection.execute(sa.select(rollouts).order_by(rollouts.c.id.desc()).limit(limit))]


def running(connection: Connection) -> list[int]:
    """The rollouts to look at, oldest first."""
    query = sa.select(rollouts.c.id).where(rollouts.c.state == RolloutState.RUNNING).order_by(rollouts.c.id)
    return list(connection.execute(query).scalars())


def members(connection: Connection, rollout: int) -> list[Member]:
    """The devices of a rollout, by wave and name."""
    query = (
        sa.select(rollout_devices)
        .where(rollout_devices.c.rollout == rollout)
        .order_by(rollout_devices.c.wave, rollout_devices.c.device)
    )
    return [_to_member(row) for row in connection.execute(query)]


def busy_devices(connection: Connection, kind: Kind, model: str) -> dict[str, int]:
    """Devices that an unfinished rollout of this model holds, with its id. A device has one configuration, of whatever name."""
    of_it = rollouts.c.kind == kind if kind is Kind.CONFIGURATION else (rollouts.c.kind == kind) & (rollouts.c.model == model)
    query = (
        sa.select(rollout_devices.c.device, rollouts.c.id)
        .join(rollouts, rollouts.c.id == rollout_devices.c.rollout)
        .where(of_it, rollouts.c.state.in_([state.value for state in ACTIVE]))
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def find_target(connection: Connection, kind: Kind, model: str, release: int | None) -> Published | None:
    """A published release or revision; None as its number is the newest one."""
    if kind is Kind.CONFIGURATION:
        revisions = sa.select(configurations.c.revision, configurations.c.digest).where(configurations.c.name == model)
        if release is not None:
            revisions = revisions.where(configurations.c.revision == release)
        found = connection.execute(revisions.order_by(configurations.c.revision.desc()).limit(1)).first()
        if found is None:
            return None
        return Published(found.revision, str(found.revision), found.digest, (found.digest,), has_baseline=False)
    columns = (releases.c.release, releases.c.version, releases.c.digest, releases.c.variants, releases.c.manifest)
    query = sa.select(*columns).where(releases.c.model == model)
    if release is not None:
        query = query.where(releases.c.release == release)
    row = connection.execute(query.order_by(releases.c.release.desc()).limit(1)).first()
    if row is None:
        return None
    digests = tuple(str(item["digest"]) for item in row.variants or ())
    has_baseline = (row.manifest or {}).get("baseline") is not None
    return Published(row.release, row.version, row.digest, digests or (row.digest,), has_baseline)


def device_labels(connection: Connection) -> dict[str, dict[str, str]]:
    """Every device that was not revoked, with its labels."""
    query = sa.select(devices.c.device, devices.c.labels).where(devices.c.revoked.is_(None)).order_by(devices.c.device)
    return {row.device: dict(row.labels) for row in connection.execute(query)}


def online_devices(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those of `names` whose last birth says online."""
    slots = read_slots(connection, names)
    return {
        device
        for (device, channel), slot in slots.items()
        if channel == Channel.BIRTH and _read(slot.payload, _Birth).state == "online"
    }


def choices(connection: Connection, model: str, release: int, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Device to the variant of a release that it has picked, with why, and why not the others."""
    found: dict[str, dict[str, Any]] = {}
    for (device, channel), slot in read_slots(connection, names).items():
        if channel != Channel.REPORTED:
            continue
        for update in _read(slot.payload, _Reported).updates:
            if (update.model, update.release) == (model, release) and update.variant is not None:
                found[device] = {"variant": update.variant, "picked": update.picked, "not_picked": update.not_picked}
    return found


def evidence(connection: Connection, kind: Kind, model: str, names: Sequence[str]) -> dict[str, Evidence]:
    """What is known of these devices about one model or configuration."""
    if kind is Kind.CONFIGURATION:
        return _evidence_of_configuration(connection, model, names)
    registered = device_labels(connection)
    slots = read_slots(connection, names)
    found: dict[str, Evidence] = {}
    for device in names:
        birth, reported, health = (slots.get((device, channel)) for channel in Channel)
        says = _read(reported.payload, _Reported) if reported is not None else _Reported()
        runs = next((entry for entry in says.models if entry.model == model), None)
        update = next((entry for entry in says.updates if entry.model == model), None)
        measured = _read(health.payload, _Health) if health is not None else _Health()
        work = next((entry for entry in measured.models if entry.model == model), None)
        found[device] = Evidence(
            registered=device in registered,
            online=birth is not None and _read(birth.payload, _Birth).state == "online",
            revision=says.revision,
            running_release=runs.release if runs is not None else None,
            running_digest=runs.digest if runs is not None else None,
            in_use=(model, runs.release) if runs is not None else None,
            update_release=update.release if update is not None else None,
            update_state=_update_state(update.state) if update is not None else None,
            update_reason=update.reason if update is not None else None,
            update_detail=update.detail if update is not None else None,
            health_received=health.received if health is not None else None,
            health_release=work.release if work is not None else None,
            inferences=work.inferences if work is not None else 0,
            errors=work.errors if work is not None else 0,
            restarts=work.restarts if work is not None else 0,
            drift=work.drift.of_outputs if work is not None and work.drift is not None else None,
        )
    return found


def _evidence_of_configuration(connection: Connection, name: str, names: Sequence[str]) -> dict[str, Evidence]:
    """Its attestation is the agent's own; its health is that of all models together, for it may touch any of them."""
    registered = device_labels(connection)
    slots = read_slots(connection, names)
    found: dict[str, Evidence] = {}
    for device in names:
        birth, reported, health = (slots.get((device, channel)) for channel in Channel)
        says = _read(reported.payload, _Reported) if reported is not None else _Reported()
        used = says.configuration or _Configuration()
        runs, newest = used.running_name == name, used.name == name
        work = _read(health.payload, _Health).models if health is not None else ()
        found[device] = Evidence(
            registered=device in registered,
            online=birth is not None and _read(birth.payload, _Birth).state == "online",
            revision=says.revision,
            running_release=used.running_revision if runs else None,
            running_digest=used.running_digest if runs else None,
            in_use=(used.running_name, used.running_revision) if used.running_revision else None,
            update_release=used.revision if newest else None,
            update_state=_update_state(used.state) if newest else None,
            update_reason=used.reason if newest else None,
            update_detail=used.detail if newest else None,
            health_received=health.received if health is not None else None,
            health_release=used.running_revision if runs and health is not None else None,
            inferences=sum(item.inferences for item in work),
            errors=sum(item.errors for item in work),
            restarts=sum(item.restarts for item in work),
        )
    return found


def progress(connection: Connection, model: str, release: int, names: Sequence[str]) -> dict[str, str]:
    """How far the update to this release is, by device, in a few words; only of those that say."""
    found = {}
    for (device, channel), slot in read_slots(connection, names).items():
        if channel == Channel.REPORTED:
            updates = _read(slot.payload, _Reported).updates
            update = next((item for item in updates if item.model == model and item.release == release), None)
            if update is not None:
                text = describe_progress(msgspec.to_builtins(update))
                found[device] = f"{update.state} {text}".strip()
    return found


def _read(payload: bytes, kind: type[_S]) -> _S:
    # A slot that this version cannot read is no evidence: unknown is not healthy.
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return kind()


def _update_state(state: str) -> UpdateState | None:
    return next((known for known in UpdateState if known == state), None)


def _member_row(member: Member) -> dict[str, Any]:
    return asdict(member) | {"state": member.state.value}


def _to_member(row: Any) -> Member:
    values = dict(row._mapping)
    del values["rollout"]
    return Member(**values | {"state": DeviceState(values["state"])})


def _to_row(rollout: Rollout) -> dict[str, Any]:
    return asdict(rollout) | {"kind": rollout.kind.value, "plan": asdict(rollout.plan), "state": rollout.state.value}


def _from_row(row: Any) -> Rollout:
    values = dict(row._mapping)
    plan = values["plan"]
    plan = Plan(**plan | {"on_failure": OnFailure(plan["on_failure"])})
    values["digests"] = tuple(values["digests"] or (values["digest"],))
    return Rollout(**values | {"kind": Kind(values["kind"]), "plan": plan, "state": RolloutState(values["state"])})
