"""The intake thread: takes messages in batches, one transaction each, then acknowledges what is durable.

A crash between commit and acknowledgement loses nothing: the device sends again, the repeat is left out and acknowledged.
What overflows the queue, or cannot be committed now, is not acknowledged, so that it comes again too.
"""

import logging
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_contract import topics
from fleet_contract.messages import Ack, encode, to_ranges
from fleet_contract.topics import Down, Up
from fleet_controller.desired import Publish
from fleet_controller.intake.sorting import (
    HealthFields,
    Incoming,
    LogFields,
    NoteFields,
    Refused,
    ReplyFields,
    ResultFields,
    SlotFields,
    Sorted,
    is_newer,
    refuse,
    sort,
)
from fleet_controller.settings import IntakeSettings
from fleet_controller.store import tables
from fleet_controller.store.alarms import AlarmRow, write_alarms
from fleet_controller.store.database import Database
from fleet_controller.store.ignoring import insert_ignoring
from fleet_controller.store.slots import Channel, Slot, read_slots, write_slots

log = logging.getLogger(__name__)
_RETRY_DELAY = 1.0


@dataclass(slots=True)
class Changes:
    """What one batch brought, told to the listeners after its commit."""

    births: dict[str, bool] = field(default_factory=dict)
    """Device to whether it is online now."""
    reported: set[str] = field(default_factory=set)
    health: set[str] = field(default_factory=set)
    noted: set[str] = field(default_factory=set)
    replies: list[str] = field(default_factory=list)
    """Correlation ids."""

    @property
    def touches_rollouts(self) -> bool:
        """Whether a rollout may see something new."""
        return bool(self.births or self.reported or self.health)


class Intake:
    """One queue, one thread. `put` may be called from any thread; everything else happens on the intake thread."""

    def __init__(
        self,
        database: Database,
        publish: Publish,
        settings: IntakeSettings,
        on_changes: Callable[[Changes], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._publish = publish
        self._settings = settings
        self._on_changes = on_changes
        self._clock = clock
        self._queue: queue.Queue[Incoming] = queue.Queue(settings.queue_messages)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._complained: set[str] = set()
        self.counters: Counter[str] = Counter()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End after the batch that is under way; False if that takes longer than `timeout` seconds."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def put(self, topic: str, payload: bytes) -> None:
        """Queue a message; never blocks. Without room it is dropped and counted."""
        try:
            self._queue.put_nowait(Incoming(topic, payload))
        except queue.Full:
            self.counters["overflow"] += 1

    def process(self, batch: Sequence[Incoming]) -> None:
        """Store a batch, acknowledge it, tell the listeners. Raises what the database raises when it cannot be used now."""
        sorted_ones = [entry for entry in map(sort, batch) if entry is not None]
        self.counters["received"] += len(batch)
        try:
            changes, places = self._store(sorted_ones)
        except (sa.exc.DBAPIError, OverflowError, ValueError) as error:
            if isinstance(error, sa.exc.OperationalError):
                raise
            # One message holds what the database cannot (a NUL in a text, say): find it, and keep it from costing the others.
            changes, places = Changes(), defaultdict(list)
            for entry in sorted_ones:
                self._store_alone(entry, changes, places)
        for (device, stream), seqs in places.items():
            self._acknowledge(device, stream, seqs)
        self._on_changes(changes)

    def _run(self) -> None:
        while not self._stopping.is_set():
            batch = self._next_batch()
            if not batch:
                continue
            try:
                self.process(batch)
            except Exception:  # the thread's boundary: nothing was acknowledged, so the devices send again
                self.counters["failed_batches"] += 1
                log.exception("a batch could not be stored", extra={"messages": len(batch)})
                self._stopping.wait(_RETRY_DELAY)

    def _next_batch(self) -> list[Incoming]:
        try:
            batch = [self._queue.get(timeout=0.25)]
        except queue.Empty:
            return []
        end = time.monotonic() + self._settings.batch_delay
        while len(batch) < self._settings.batch_messages:
            try:
                batch.append(self._queue.get(timeout=max(end - time.monotonic(), 0.0)))
            except queue.Empty:
                break
        return batch

    def _store_alone(self, entry: Sorted | Refused, changes: Changes, places: dict[tuple[str, str], list[int]]) -> None:
        try:
            one, its_places = self._store([entry])
        except (sa.exc.DBAPIError, OverflowError, ValueError) as error:
            if isinstance(error, sa.exc.OperationalError) or isinstance(entry, Refused):
                raise
            detail = f"the database cannot hold it: {type(error).__name__}"
            one, its_places = self._store([refuse(entry.device, entry.channel, detail, entry.payload)])
        changes.births |= one.births
        changes.reported |= one.reported
        changes.health |= one.health
        changes.noted |= one.noted
        changes.replies += one.replies
        for key, seqs in its_places.items():
            places[key] += seqs

    def _store(self, entries: Sequence[Sorted | Refused]) -> tuple[Changes, dict[tuple[str, str], list[int]]]:
        now = self._clock()
        with self._database.write() as connection:
            known = _known_devices(connection, {entry.device for entry in entries if entry.device is not None})
            batch = _Batch(now)
            strangers = 0
            complaints: list[Refused] = []
            for entry in entries:
                if isinstance(entry, Refused):
                    complaints.append(entry)
                if entry.device is None:
                    continue
                if entry.device not in known:
                    strangers += 1
                    continue
                batch.add(entry)
            counts = batch.write(connection)
        self.counters["unknown_devices"] += strangers
        self.counters.update(counts)
        for refused in complaints:
            self._complain(refused)
        return batch.changes, batch.places

    def _acknowledge(self, device: str, stream: str, seqs: Sequence[int]) -> None:
        ack = encode(Ack(stream=stream, ranges=to_ranges(seqs)))
        if self._publish(topics.down(device, Down.ACK), ack):
            self.counters["acknowledged"] += len(set(seqs))

    def _complain(self, refused: Refused) -> None:
        self.counters["malformed"] += 1
        device = refused.device or ""
        # Once for each device: one that is broken would fill the log.
        if device not in self._complained and len(self._complained) < 10_000:
            self._complained.add(device)
            log.warning(
                "a malformed message was refused",
                extra={"device": device, "channel": str(refused.channel), "detail": refused.detail},
            )


class _Batch:
    """The rows of one transaction."""

    def __init__(self, now: float) -> None:
        self.changes = Changes()
        self.places: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._now = now
        self._slots: list[tuple[str, Channel, SlotFields, bytes]] = []
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._newest_health: dict[tuple[str, str], Slot] = {}
        self._alarms: list[AlarmRow] = []

    def add(self, entry: Sorted | Refused) -> None:
        """Make one message's rows."""
        device, payload = entry.device, entry.payload
        row: dict[str, Any] = {"device": device, "payload": payload, "received": self._now}
        if isinstance(entry, Refused):
            if entry.stream is not None and entry.seq is not None:
                row |= {"channel": entry.channel, "detail": entry.detail, "stream": entry.stream, "seq": entry.seq}
                self._rows["refused"].append(row)
                self.places[cast(str, device), entry.stream].append(entry.seq)
            return
        match entry.fields:
            case SlotFields() as slot:
                self._slots.append((entry.device, Channel(entry.channel.value), slot, payload))
            case HealthFields():
                self._rows["health"].append(row)
                self._newest_health[entry.device, Channel.HEALTH] = Slot("", 0, payload, self._now)
                self.changes.health.add(entry.device)
            case ResultFields() as result:
                durable = bool(result.stream) and result.seq > 0
                row |= {"result_id": result.result_id, "pipeline": entry.pipeline, "source": result.source, "time": result.time}
                row["revision"] = result.revision
                row |= {"stream": result.stream if durable else None, "seq": result.seq if durable else None}
                row |= {
                    "model": result.model.name if result.model is not None else None,
                    "release": result.model.release if result.model is not None else None,
                }
                self._rows["results"].append(row)
                alarm = result.alarm
                if alarm is not None:
                    self._alarms.append(
                        AlarmRow(
                            device=entry.device,
                            alarm_id=alarm.id,
                            pipeline=cast(str, entry.pipeline),
                            source=result.source,
                            state=alarm.state,
                            severity=alarm.severity,
                            text=alarm.text,
                            since=alarm.since,
                            time=result.time,
                            first_received=self._now,
                            received=self._now,
                        )
                    )
                if durable:
                    self.places[entry.device, result.stream].append(result.seq)
            case NoteFields() as note:
                row |= {name: getattr(note, name) for name in note.__struct_fields__}
                self._rows["notes"].append(row)
                self.places[entry.device, note.stream].append(note.seq)
                self.changes.noted.add(entry.device)
            case ReplyFields() as reply:
                self._rows["replies"].append(
                    {"k": reply.correlation, "d": device, "s": reply.status, "p": payload, "t": self._now}
                )
                self.changes.replies.append(reply.correlation)
            case LogFields() as lines:
                row |= {"correlation": lines.correlation, "part": lines.part, "last": lines.last}
                self._rows["logs"].append(row)

    def write(self, connection: Connection) -> Counter[str]:
        """Put everything into the database; returns what to count."""
        counts: Counter[str] = Counter()
        for name in ("results", "notes", "refused", "logs"):
            rows = self._rows[name]
            stored = insert_ignoring(connection, tables.metadata.tables[name], rows)
            counts[name] += stored
            counts[f"repeated_{name}"] += len(rows) - stored
        revised = [row for row in self._rows["results"] if row["revision"]]
        if revised:
            taken = _revise(connection, revised)
            counts["revised_results"] += taken
            counts["repeated_results"] -= taken
        write_alarms(connection, self._alarms)
        if self._rows["health"]:
            connection.execute(sa.insert(tables.health), self._rows["health"])
            counts["health"] += len(self._rows["health"])
        if self._rows["replies"]:
            connection.execute(_REPLY, self._rows["replies"])
            counts["replies"] += len(self._rows["replies"])
        write_slots(connection, self._newer_slots(connection) | self._newest_health)
        return +counts

    def _newer_slots(self, connection: Connection) -> dict[tuple[str, str], Slot]:
        current = read_slots(connection, {device for device, *_ in self._slots}) if self._slots else {}
        newer: dict[tuple[str, str], Slot] = {}
        for device, channel, fields, payload in self._slots:
            before = newer.get((device, channel)) or current.get((device, channel))
            if before is not None:
                read = sort(Incoming(topics.up(device, Up(channel.value)), before.payload))
                order = read.fields.order if isinstance(read, Sorted) and isinstance(read.fields, SlotFields) else (-1, False)
                if not is_newer(fields.stream, fields.order, before.stream, order):
                    continue
            newer[device, channel] = Slot(fields.stream, fields.counter, payload, self._now)
            if channel is Channel.BIRTH:
                self.changes.births[device] = fields.state == "online"
            else:
                self.changes.reported.add(device)
        return newer


_REVISED: Final = ("revision", "time", "model", "release", "payload", "received")
_REVISION = (
    sa.update(tables.results)
    .where(
        tables.results.c.device == sa.bindparam("d"),
        tables.results.c.result_id == sa.bindparam("k"),
        tables.results.c.revision < sa.bindparam("to_revision"),
    )
    .values({name: sa.bindparam(f"to_{name}") for name in _REVISED})
)


def _revise(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Let results of a higher revision take the place of those that are stored under their id; returns how many did."""
    found = 0
    for row in rows:
        named = {f"to_{name}": row[name] for name in _REVISED}
        found += connection.execute(_REVISION, {"d": row["device"], "k": row["result_id"], **named}).rowcount
    return found


# A reply is kept once, and only the device that was asked can answer.
_REPLY = (
    sa.update(tables.commands)
    .where(
        tables.commands.c.correlation == sa.bindparam("k"),
        tables.commands.c.device == sa.bindparam("d"),
        tables.commands.c.status.is_(None),
    )
    .values(status=sa.bindparam("s"), reply=sa.bindparam("p"), answered=sa.bindparam("t"))
)


def _known_devices(connection: Connection, names: Iterable[str]) -> set[str]:
    wanted = sorted(names)
    query = sa.select(tables.devices.c.device).where(tables.devices.c.revoked.is_(None))
    return set(connection.execute(query.where(tables.devices.c.device.in_(wanted))).scalars())
