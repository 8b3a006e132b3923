"""Carries decisions out: one thread looks at running rollouts when something changed, and at least every second.

A look is one transaction: evidence in, new device states, assignments and the rollout's state out. So it is idempotent,
and a crash anywhere leaves a state that the next look goes on from.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from fleet_contract.configuration import DesiredConfiguration
from fleet_controller.desired import DesiredStates
from fleet_controller.rollouts import store
from fleet_controller.rollouts.machine import DeviceState, Event, RolloutState, follow
from fleet_controller.rollouts.policy import Evidence, FailGate, Finish, Kind, Member, StartWave, decide, judge
from fleet_controller.rollouts.store import Rollout
from fleet_controller.settings import OnFailure
from fleet_controller.store.database import Database

log = logging.getLogger(__name__)


class Engine:
    """Moves rollouts. `tick` may be called from any thread; `wake` asks the engine's own thread for a look soon."""

    def __init__(
        self, database: Database, desired: DesiredStates, interval: float = 1.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._desired = desired
        self._interval = interval
        self._clock = clock
        self._one_look = threading.Lock()
        self._wake = threading.Event()
        self._republish = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)
        self.counters: Counter[str] = Counter()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End after the look that is under way; False if that takes longer than `timeout` seconds."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Look soon. Never blocks."""
        self._wake.set()

    def connected(self) -> None:
        """The broker is there (again): publish every desired state soon. Never blocks."""
        self._republish.set()
        self._wake.set()

    def tick(self) -> None:
        """Look at every running rollout once, and publish what changed."""
        with self._one_look:
            with self._database.read() as connection:
                numbers = store.running(connection)
            for number in numbers:
                try:
                    with self._database.write() as connection:
                        told = self._look(connection, number)
                    if told:
                        self._desired.publish(told)
                except Exception:  # one rollout's boundary: the others go on, and the next look starts from the database again
                    self.counters["engine_errors"] += 1
                    log.exception("a look at a rollout failed", extra={"rollout": number})

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                if self._republish.is_set():
                    self._republish.clear()
                    self._desired.publish_all()
                self.tick()
            except Exception:  # the thread's boundary: the next look starts from the database again
                self.counters["engine_errors"] += 1
                log.exception("a look at the rollouts failed")
                self._stopping.wait(self._interval)

    def _look(self, connection: Connection, number: int) -> list[str]:
        rollout = store.read(connection, number)
        if rollout is None or rollout.state is not RolloutState.RUNNING:
            return []
        now = self._clock()
        before = store.members(connection, number)
        evidence = store.evidence(connection, rollout.kind, rollout.model, [member.device for member in before])
        members = [judge(rollout.target, rollout.plan, member, evidence[member.device], now) for member in before]
        store.save_members(connection, number, [new for new, old in zip(members, before, strict=True) if new != old])
        decision = decide(rollout.plan, rollout.wave, members, now)
        match decision:
            case StartWave(wave):
                store.save(connection, replace(rollout, wave=wave, changed=now))
                log.info("a wave starts", extra={"rollout": number, "wave": wave})
                started = [member for member in members if member.wave == wave]
                return self._assign(connection, rollout, started, evidence, now)
            case FailGate(reason, device, detail):
                event = Event.GATE_FAILED_RETURN if rollout.plan.on_failure is OnFailure.RETURN else Event.GATE_FAILED_PAUSE
                ended = replace(rollout, state=follow(rollout.state, event), reason=reason, detail=detail, changed=now)
                store.save(connection, ended)
                self.counters["gates_failed"] += 1
                log.warning("a gate failed", extra={"rollout": number, "device": device, "reason": reason, "detail": detail})
                if event is Event.GATE_FAILED_RETURN:
                    return give_back(connection, self._desired, rollout, members)
            case Finish():
                store.save(connection, replace(rollout, state=follow(rollout.state, Event.FINISH), changed=now))
                self.counters["rollouts_done"] += 1
                log.info("a rollout is done", extra={"rollout": number, "model": rollout.model, "release": rollout.release})
        return []

    def _assign(
        self, connection: Connection, rollout: Rollout, wave: list[Member], evidence: dict[str, Evidence], now: float
    ) -> list[str]:
        registered = store.device_labels(connection)
        told = []
        for member in wave:
            if member.device not in registered:
                # Judged as forgotten at the next look.
                store.save_members(connection, rollout.id, [replace(member, state=DeviceState.ASSIGNED, assigned=now)])
                continue
            # What answers there is what is worth going back to: what was desired may be a release that the device refused.
            running = evidence[member.device].in_use
            wanted = desired_now(connection, self._desired, rollout, member.device)
            before = running if running not in (None, (rollout.model, rollout.release)) else wanted
            revision = desire(connection, self._desired, rollout, member.device, (rollout.model, rollout.release))
            assigned = replace(
                member,
                state=DeviceState.ASSIGNED,
                previous=before[1] if before is not None else None,
                previous_name=before[0] if before is not None and rollout.kind is Kind.CONFIGURATION else None,
                revision=revision,
                assigned=now,
            )
            store.save_members(connection, rollout.id, [assigned])
            told.append(member.device)
        return told


def desired_now(connection: Connection, desired: DesiredStates, rollout: Rollout, device: str) -> tuple[str, int] | None:
    """Name and number of what is desired of the device in place of what the rollout brings."""
    if rollout.kind is Kind.CONFIGURATION:
        wanted = desired.get(connection, device).configuration
        return None if wanted is None else (wanted.name, wanted.revision)
    release = desired.release_of(connection, device, rollout.model)
    return None if release is None else (rollout.model, release)


def desire(
    connection: Connection,
    desired: DesiredStates,
    rollout: Rollout,
    device: str,
    what: tuple[str, int] | None,
    *,
    back: bool = False,
) -> int:
    """Desire a release or a revision, or none. `back`: the plan of the rollout says nothing any more. Returns the revision."""
    number = str(rollout.id)
    if rollout.kind is Kind.CONFIGURATION:
        wanted = None if what is None else DesiredConfiguration(name=what[0], revision=what[1], rollout=number)
        return desired.configure(connection, device, wanted)
    if what is None:
        return desired.remove(connection, device, rollout.model)
    return desired.assign(connection, device, rollout.model, what[1], number, shadow=back or rollout.plan.shadow)


def give_back(connection: Connection, desired: DesiredStates, rollout: Rollout, members: list[Member]) -> list[str]:
    """Desire what each touched device had before; without anything, that the model or configuration is not there.

    Returns whom to tell.
    """
    told = []
    for member in members:
        if member.state is DeviceState.PENDING or member.state is DeviceState.RETURNED:
            continue
        # What somebody desired since then is not ours to take back.
        if desired_now(connection, desired, rollout, member.device) == (rollout.model, rollout.release):
            name = member.previous_name or rollout.model
            before = None if member.previous is None else (name, member.previous)
            desire(connection, desired, rollout, member.device, before, back=True)
            told.append(member.device)
        store.save_members(connection, rollout.id, [replace(member, state=DeviceState.RETURNED, healthy_since=None)])
    return told
