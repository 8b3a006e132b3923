"""The account of a run: every event of the sensor's log is a result, a dead letter, or a drop with an allowed reason."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, text

from edge_agent.journal.reader import Reader
from fleet_controller.demo.evidence import ResultsDatabase
from fleet_controller.demo.reconcile import Reconciled, compare, expected_ids, expected_results
from tests.faults.founding import DEVICE
from tests.faults.sensor import BROKEN_TOPIC
from tests.faults.world import WINDOW, World

MODEL_REASONS: Final = frozenset({"poison_input", "deadline_exceeded", "worker_crashed", "bad_output"})
"""Reasons for which a window becomes a dead letter that the model could not answer."""
DEFECTS: Final = ("loop_errors", "site_link_callback_errors", "fleet_link_callback_errors", "bad_messages")
"""Counters that must stay 0 whatever happens."""
STALLED_AFTER: Final = 45.0
"""Seconds without any change: longer than the first resend of the outbox."""
QUIET_AFTER: Final = 8.0
"""The same when the outbox is empty."""
COMPLETE_AFTER: Final = 0.5
"""The same when every result that the log demands is there."""
LONGEST: Final = 170.0


@dataclass(slots=True)
class Account:
    """What came of the events of one run."""

    events: int = 0
    """In the sensor's log."""
    unreadable: int = 0
    """Of these, what nobody can read."""
    results: int = 0
    """At the controller."""
    missing: int = 0
    """Results that the log demands and nobody has, and that nothing below excuses."""
    repeated: int = 0
    unexpected: int = 0
    kept: int = 0
    """Dead letters in the device's store."""
    untold: int = 0
    """Dead letters without a note at the controller."""
    told_again: int = 0
    """Dead letters with more than one: their acknowledgement was lost with a connection or a process."""
    holes: int = 0
    """Numbers of the outbox's streams that the controller does not have."""
    holes_allowed: bool = False
    """A refused commit, or a repeat that the controller knows by its result id, uses numbers up."""
    only_in_damaged_file: int = 0
    """Results that went with a damaged agent.db: waiting in its outbox, or about events of its open windows."""
    broker_lost: int = 0
    """Events that the site broker acknowledged and lost when it was killed, as far as the conditions allow for."""
    unanswered: int = 0
    """Windows that a model could not answer, told as dead letters."""
    lost_qos0: int = 0
    """Readable events of QoS 0 without a result."""
    qos0_overflow: int = 0
    """Of these, what the agent counted as dropped since its last start."""
    drops: dict[str, int] = field(default_factory=dict)
    """Counters of drops."""
    defects: dict[str, int] = field(default_factory=dict)
    """Counters that say that something is wrong with the agent."""
    complaints: list[str] = field(default_factory=list)
    """What else is not as it should be."""

    def failures(self) -> list[str]:
        """What breaks the promise; empty when it was kept. Pure."""
        found = [
            f"{name}: {value}"
            for name, value in (
                ("missing results", self.missing),
                ("repeated results", self.repeated),
                ("unexpected results", self.unexpected),
                ("dead letters without a note", self.untold),
                ("holes in the stream", 0 if self.holes_allowed else self.holes),
            )
            if value
        ]
        found += [f"counter {name}: {value}" for name, value in (self.drops | self.defects).items()]
        return found + self.complaints


def settle(world: World) -> float:
    """Wait until nothing is on its way any more; returns the seconds that took after the sensor's last event."""
    world.sensor.finish()
    start = changed = time.monotonic()
    wanted = expected_counts(world)
    last: object = None
    while True:
        status = world.status()
        now = time.monotonic()
        rows = count_results(world)
        ready = status is not None and world.ready()
        counters = status["counters"] if status else {}
        waiting = (status["outbox_rows"], sum(item["queue"] for item in status["workers"])) if status else None
        seen = (ready, rows, waiting, counters.get("events"), counters.get("commits_refused"))
        if seen != last:
            last, changed = seen, now
        empty = ready and waiting == (0, 0)
        complete = empty and wanted is not None and rows >= wanted
        patience = COMPLETE_AFTER if complete else QUIET_AFTER if empty else STALLED_AFTER
        if now - changed > patience or now - start > LONGEST:
            return changed - start
        time.sleep(0.1)


def expected_counts(world: World) -> int | None:
    """How many results there will be; None where some may be lost."""
    if world.conditions.qos == 0 or world.before_damage is not None or world.conditions.broker_may_lose:
        return None
    counts = world.sensor.counts.values()
    windows = sum(max(0, (count - WINDOW) // world.conditions.step + 1) for count in counts)
    return sum(sum(counts) if name == "echo" else windows for name in world.conditions.pipelines)


def count_results(world: World) -> int:
    """Rows at the controller."""
    with closing(ResultsDatabase(world.database_url)) as database:
        return database.count_results()


def draw_up(world: World) -> Account:
    """The account of a settled world."""
    conditions, sensor = world.conditions, world.sensor
    account = Account(events=sensor.sent, unreadable=len(sensor.unreadable) + sensor.broken)
    status = world.status()
    if status is None or not world.ready():
        account.complaints.append(f"the agent is not back: {status}; {world.agent.log_tail()[-500:]}")
        return account
    log = sensor.log
    if conditions.broker_may_lose:
        log, account.broker_lost = without_broker_losses(world, conditions.broker_may_lose)
    lost = lost_with_damage(world.before_damage) if world.before_damage is not None else None
    notes = read_notes(world.database_url)
    for pipeline, found, missing in reconcile(world, log):
        account.results += found.found
        account.repeated += found.repeated
        account.unexpected += found.unexpected
        if conditions.qos == 0:
            account.lost_qos0 += found.missing
        elif lost is not None:
            excused = excused_by(lost, missing, expected_events(world, pipeline))
            account.only_in_damaged_file += excused
            account.missing += found.missing - excused
        else:
            account.missing += found.missing
    account.unanswered = count_unanswered(notes)
    account.missing = max(0, account.missing - account.unanswered)
    told = Counter(note["fields"].get("topic") for note in notes if note["kind"] == "dead_letter")
    if conditions.qos:
        account.untold = len(sensor.unreadable - told.keys()) + (1 if sensor.broken and not told[BROKEN_TOPIC] else 0)
    if account.untold <= conditions.broker_may_lose - account.broker_lost:
        account.broker_lost += account.untold
        account.untold = 0
    account.told_again = sum(told[topic] - 1 for topic in sensor.unreadable if told[topic])
    counters = status["counters"]
    account.drops = {key: value for key, value in counters.items() if is_drop(key, conditions.qos) and value}
    account.qos0_overflow = sum(value for key, value in counters.items() if key.endswith("qos0_overflow"))
    account.defects = {key: counters[key] for key in DEFECTS if counters.get(key)}
    account.kept = status["dead_letters"]
    came = account.unreadable - account.broker_lost
    if conditions.qos and world.before_damage is None and account.kept < came:
        account.complaints.append(f"{account.unreadable} unreadable events, kept are {account.kept}")
    if conditions.qos and world.agent.starts == 1 and counters.get("dead_not_json", 0) < came:
        account.complaints.append(f"{account.unreadable} unreadable events, counted are {counters.get('dead_not_json', 0)}")
    account.holes = count_holes(world)
    account.holes_allowed = bool(counters.get("commits_refused")) or world.before_damage is not None
    if world.before_damage is not None:
        check_set_aside(world, notes, account)
    return account


def is_drop(counter: str, qos: int) -> bool:
    """Whether a counter counts events or results that are gone for good; the overflow of QoS 0 is what that level means."""
    if counter.endswith("qos0_overflow"):
        return qos > 0
    return counter != "replies_dropped" and ("dropped" in counter or "evicted" in counter)


def without_broker_losses(world: World, most: int) -> tuple[Path, int]:
    """The sensor's log without those events that the site broker acknowledged and lost when it was killed, and their number.

    An event without a result in the pipeline that gives one for each event was not given to the agent. If there are more than
    `most` of them, the broker is not to blame, and the log stays as it is.
    """
    with closing(ResultsDatabase(world.database_url)) as database:
        there = {row.result_id for row in database.results()}
    events = expected_events(world, "echo")
    gone = {event for result in events.keys() - there for event in events[result]}
    if not gone or len(gone) > most:
        return world.sensor.log, 0
    reduced = world.folder / "sensor-without-losses.jsonl"
    with world.sensor.log.open() as lines, reduced.open("w") as kept:
        kept.writelines(line for line in lines if not _is_one_of(json.loads(line)["payload"], gone))
    return reduced, len(gone)


def _is_one_of(payload: Any, event_ids: set[str]) -> bool:
    return isinstance(payload, dict) and payload["id"] in event_ids


def reconcile(world: World, log: Path) -> list[tuple[str, Reconciled, set[str]]]:
    """For each pipeline what the log demands against what the controller has, and the ids that it lacks."""
    with closing(ResultsDatabase(world.database_url)) as database:
        rows = database.results()
    ids = {row.result_id for row in rows}
    names = world.conditions.pipelines
    with ThreadPoolExecutor(len(names)) as pool:
        demanded = list(pool.map(lambda name: expected_ids(world.config, name, log), names))
    sent = world.sensor.sent
    return [
        (name, compare(DEVICE, name, sent, wanted, rows), set(wanted) - ids)
        for name, wanted in zip(names, demanded, strict=True)
    ]


def read_notes(url: str) -> list[dict[str, Any]]:
    """All notes at the controller, as the device wrote them."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [json.loads(payload) for (payload,) in connection.execute(text("SELECT payload FROM notes ORDER BY id"))]
    finally:
        engine.dispose()


def count_unanswered(notes: Iterable[Mapping[str, Any]]) -> int:
    """Windows that ended as dead letters because their model did not answer."""
    letters = (note for note in notes if note["kind"] == "dead_letter" and note["reason"] in MODEL_REASONS)
    return sum(1 + int(note["fields"].get("not_told_before", 0)) for note in letters)


def count_holes(world: World) -> int:
    """Numbers of the agent's stream, up to its last, under which the controller has nothing."""
    reader = Reader(world.state / "agent.db")
    try:
        stream, last = reader.stream(), reader.counts().last_seq
    finally:
        reader.close()
    engine = create_engine(world.database_url)
    try:
        with engine.connect() as connection:
            there: set[int] = set()
            for table in ("results", "notes", "refused"):
                found = connection.execute(text(f"SELECT seq FROM {table} WHERE stream = :stream"), {"stream": stream})
                there.update(seq for (seq,) in found)
    finally:
        engine.dispose()
    return last - len(there)


@dataclass(frozen=True, slots=True)
class LostWithDamage:
    """What only the damaged file held."""

    result_ids: frozenset[str]
    """Waiting in its outbox."""
    event_ids: frozenset[str]
    """Of its open windows."""


def lost_with_damage(copy: Path) -> LostWithDamage:
    """Read the copy that was made before the damage."""
    with closing(sqlite3.connect(copy)) as database:
        payloads = database.execute("SELECT payload FROM outbox WHERE kind = 'result'").fetchall()
        events = database.execute("SELECT payload FROM journal").fetchall()
    return LostWithDamage(
        frozenset(json.loads(payload)["result_id"] for (payload,) in payloads),
        frozenset(json.loads(payload)["id"] for (payload,) in events),
    )


def expected_events(world: World, pipeline: str) -> dict[str, frozenset[str]]:
    """Result id to the ids of its events, from the replay of the sensor's log."""
    answered = {}
    for result in expected_results(world.config, pipeline, world.sensor.log):
        answered[result["result_id"]] = frozenset(result["events"]["ids"])
    return answered


def excused_by(lost: LostWithDamage, missing: Iterable[str], events: Mapping[str, frozenset[str]]) -> int:
    """How many of the missing results only the damaged file could have given. Pure."""
    return sum(1 for result in missing if result in lost.result_ids or events[result] & lost.event_ids)


def check_set_aside(world: World, notes: Iterable[Mapping[str, Any]], account: Account) -> None:
    """A damaged file is kept and told of; if nothing was set aside, then nothing may be gone."""
    kept = [path for path in world.state.glob("agent.db.damaged-*") if not path.name.endswith(("-wal", "-shm"))]
    told = [note for note in notes if note["kind"] == "store" and "set_aside" in note["fields"]]
    if len(kept) != len(told):
        account.complaints.append(f"{len(kept)} files set aside, {len(told)} notes of it")
    if not kept and account.only_in_damaged_file:
        account.complaints.append("the damage was not noticed")
        account.missing += account.only_in_damaged_file
