"""What operators do with rollouts. Every change is one transaction; the engine goes on from there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from fleet_contract.topics import check_name
from fleet_controller.desired import DesiredStates
from fleet_controller.rollouts import store
from fleet_controller.rollouts.engine import Engine, give_back
from fleet_controller.rollouts.machine import Event, InvalidTransition, RolloutState, follow
from fleet_controller.rollouts.policy import Kind, Member, Plan, check_canary, plan_waves, retried
from fleet_controller.rollouts.store import Rollout
from fleet_controller.settings import OnFailure, RolloutSettings
from fleet_controller.store.database import Database


class RolloutError(RuntimeError):
    """The request cannot be carried out; the text says why and what to do."""


class NotFound(RolloutError):
    """There is no such rollout, model, release or device."""


class Conflict(RolloutError):
    """It does not fit the present state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which devices: these names, or those that carry all of these labels, or all."""

    devices: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """A rollout with its devices."""

    rollout: Rollout
    members: tuple[Member, ...]
    drift: Mapping[str, float] = field(default_factory=dict)
    """Device to the PSI of its answers with this release, where it is known."""
    progress: Mapping[str, str] = field(default_factory=dict)
    """How far the update is, by device; only of those that say."""


class Rollouts:
    """Start, look at and steer rollouts. Callable from any thread."""

    def __init__(
        self,
        database: Database,
        desired: DesiredStates,
        engine: Engine,
        settings: RolloutSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._desired = desired
        self._engine = engine
        self._settings = settings
        self._clock = clock

    def start(
        self,
        model: str,
        selection: Selection,
        *,
        kind: Kind = Kind.MODEL,
        release: int | None = None,
        canary: str | None = None,
        soak: float | None = None,
        timeout: float | None = None,
        on_failure: OnFailure | None = None,
        shadow: bool = True,
        max_drift: float | None = None,
        operator: str | None = None,
        dry_run: bool = False,
    ) -> RolloutView:
        """Start bringing a release (None: the newest) to the selected devices; what is None is the configured default.

        For the kind `configuration`, `model` is its name and `release` its revision.

        `dry_run` changes nothing and returns what would be started (with id 0). Raises NotFound, Conflict, or ValueError for a
        bad argument.
        """
        check_name(model, kind.value)
        defaults = self._settings
        plan = Plan(
            canary=check_canary(defaults.canary if canary is None else canary),
            soak=defaults.soak if soak is None else soak,
            timeout=defaults.timeout if timeout is None else timeout,
            on_failure=defaults.on_failure if on_failure is None else on_failure,
            health_stale=defaults.health_stale,
            shadow=shadow,
            max_drift=max_drift,
        )
        if max_drift is not None and max_drift <= 0:
            raise ValueError("max_drift is a PSI above 0, such as 0.25")
        if plan.soak < 0 or plan.timeout < 0:
            raise ValueError("soak and timeout are seconds, and not negative")
        with self._database.read() if dry_run else self._database.write() as connection:
            row = store.find_target(connection, kind, model, release)
            if row is None:
                number, command = ("release", "model") if kind is Kind.MODEL else ("revision", "config")
                what = f"{number} of {kind} {model!r}" if release is None else f"{number} {release} of {kind} {model!r}"
                raise NotFound(f"there is no {what}; `fleet {command} list` shows what there is")
            if max_drift is not None and not row.has_baseline:
                raise ValueError(f"{model} {row.version} has no baseline, so no device can say how far it drifts")
            waves = plan_waves(self.select(connection, kind, model, selection), plan.canary)
            now = self._clock()
            members = [Member(device=device, wave=number) for number, wave in enumerate(waves) for device in wave]
            rollout = Rollout(
                id=0,
                kind=kind,
                model=model,
                release=row.release,
                version=row.version,
                digest=row.digest,
                digests=row.digests,
                plan=plan,
                state=RolloutState.RUNNING,
                wave=-1,
                waves=len(waves),
                reason=None,
                detail=None,
                operator=operator,
                created=now,
                changed=now,
            )
            if not dry_run:
                rollout = replace(rollout, id=store.insert(connection, rollout, members))
        if not dry_run:
            self._engine.wake()
        return RolloutView(rollout=rollout, members=tuple(members))

    def newest(self, limit: int = 100) -> list[Rollout]:
        """The newest rollouts, newest first."""
        with self._database.read() as connection:
            return store.read_all(connection, limit)

    def show(self, number: int) -> RolloutView:
        """One rollout with its devices; raises NotFound."""
        with self._database.read() as connection:
            return self._view(connection, number)

    def pause(self, number: int) -> RolloutView:
        """No further wave starts. Raises NotFound or Conflict."""
        return self._steer(number, Event.PAUSE)

    def resume(self, number: int) -> RolloutView:
        """Go on. Devices that were lost get their time again; a device that refused the release fails the gate again: start
        another rollout that leaves it out. Raises NotFound or Conflict."""
        return self._steer(number, Event.RESUME)

    def abort(self, number: int) -> RolloutView:
        """End it; every device keeps what it has. Raises NotFound or Conflict."""
        return self._steer(number, Event.ABORT)

    def give_back(self, number: int) -> RolloutView:
        """End it and bring every touched device back to its previous release. Raises NotFound or Conflict."""
        return self._steer(number, Event.RETURN)

    def _steer(self, number: int, event: Event) -> RolloutView:
        told: list[str] = []
        with self._database.write() as connection:
            view = self._view(connection, number)
            rollout, members, now = view.rollout, list(view.members), self._clock()
            try:
                changed = replace(rollout, state=follow(rollout.state, event), changed=now)
            except InvalidTransition as error:
                raise Conflict(f"rollout {number}: {error}") from error
            if event is Event.RETURN:
                told = give_back(connection, self._desired, rollout, members)
            if event is Event.RESUME:
                changed = replace(changed, reason=None, detail=None)
                store.save_members(connection, number, [retried(member, now) for member in members])
            store.save(connection, changed)
            view = self._view(connection, number)
        if told:
            self._desired.publish(told)
        self._engine.wake()
        return view

    def _view(self, connection: Connection, number: int) -> RolloutView:
        rollout = store.read(connection, number)
        if rollout is None:
            raise NotFound(f"there is no rollout {number}; `fleet rollout list` shows what there is")
        members = tuple(store.members(connection, number))
        names = [member.device for member in members]
        drift = {
            device: each.drift
            for device, each in store.evidence(connection, rollout.kind, rollout.model, names).items()
            if each.drift is not None and each.health_release == rollout.release
        }
        progress = store.progress(connection, rollout.model, rollout.release, names) if rollout.kind is Kind.MODEL else {}
        return RolloutView(rollout=rollout, members=members, drift=drift, progress=progress)

    def select(self, connection: Connection, kind: Kind, model: str, selection: Selection) -> list[str]:
        """The selected devices, those that are online first. Raises NotFound, and Conflict where a rollout holds one."""
        known = store.device_labels(connection)
        unknown = sorted(set(selection.devices) - set(known))
        if unknown:
            raise NotFound(f"there is no device {', '.join(map(repr, unknown))}; `fleet device list` shows what there is")
        if selection.devices:
            chosen = set(selection.devices)
        elif selection.labels:
            wanted = selection.labels.items()
            chosen = {device for device, labels in known.items() if wanted <= labels.items()}
        else:
            chosen = set(known) if selection.all else set()
        if not chosen:
            raise NotFound("no device is selected: give names, labels, or all")
        busy = {device: number for device, number in store.busy_devices(connection, kind, model).items() if device in chosen}
        if busy:
            device, number = min(busy.items())
            of = f"model {model!r}" if kind is Kind.MODEL else "a configuration"
            raise Conflict(f"rollout {number} of {of} still holds device {device!r}: abort it or let it end first")
        online = store.online_devices(connection, chosen)
        # A canary that is offline would only keep the others waiting.
        return sorted(chosen, key=lambda device: (device not in online, device))
