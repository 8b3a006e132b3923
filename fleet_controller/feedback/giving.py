"""Taking in what was right for stored results: each truth alone; a repeat changes nothing, a correction replaces."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from fleet_contract.feedback import Said, Truth, find_contradictions, find_fault, judge, said
from fleet_contract.messages import Outcome
from fleet_contract.reasons import Reason
from fleet_controller.store.database import Database
from fleet_controller.store.operators import record_action
from fleet_controller.store.tables import devices, feedback, results

MOST_WAITING: Final = 10_000
"""Truths that wait for one device. What comes beyond counts in the controller alone."""
_PORTION: Final = 500


@dataclass(frozen=True, slots=True)
class Given:
    """A truth, and the device whose result it is about; None: the one that has such a result."""

    truth: Truth
    device: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedTruth:
    """One that was not taken; `index` counts from 0 in what was given."""

    index: int
    result_id: str
    reason: Reason
    detail: str


@dataclass(slots=True)
class Answered:
    """What became of one batch."""

    taken: int = 0
    corrected: int = 0
    repeated: int = 0
    not_sent: int = 0
    """Of those taken or corrected: too many wait for the device already."""
    refused: list[RefusedTruth] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    """For which there is something to send."""


class _Outcome(Struct, frozen=True):
    label: str | None = None
    score: float | None = None
    scores: dict[str, float] = {}
    abstained: bool = False
    state: str | None = None


class _Result(Struct, frozen=True):
    outcome: _Outcome
    model: dict[str, Any] | None = None


_decoder: Final = msgspec.json.Decoder(_Result)


def read_answer(payload: bytes) -> Said | None:
    """What a stored result answered; None for one that is not a model's, or of a contract that is not known here."""
    try:
        result = _decoder.decode(payload)
    except msgspec.DecodeError:
        return None
    if result.model is None:
        return None
    outcome = result.outcome
    return said(
        Outcome(
            label=outcome.label,
            score=outcome.score,
            scores=outcome.scores,
            abstained=outcome.abstained,
            state=outcome.state,
        ),
    )


class Feedbacks:
    """The door. Callable from any thread."""

    def __init__(
        self, database: Database, on_given: Callable[[set[str]], object], clock: Callable[[], float] = time.time
    ) -> None:
        """`on_given` is told after the commit for which devices there is something to send."""
        self._database = database
        self._on_given = on_given
        self._clock = clock

    def give(self, given: Sequence[Given], operator: str) -> Answered:
        """Take a batch in, in one transaction with its line in the audit log."""
        answered = Answered()
        # Read before: without a device the search takes long in a large fleet, and intake must not wait for it.
        with self._database.read() as connection:
            answers = _find_answers(connection, given)
        with self._database.write() as connection:
            _Batch(connection, given, operator, self._clock(), answered).take(answers)
            counts = {"taken": answered.taken, "corrected": answered.corrected, "refused": len(answered.refused)}
            subject = given[0].truth.result_id[:128] if len(given) == 1 else f"{len(given)} results"
            if answered.taken or answered.corrected:
                record_action(connection, self._clock(), operator, "feedback.give", subject, counts)
        self._on_given(answered.devices)
        return answered

    def history(self, result_id: str) -> list[dict[str, Any]]:
        """All that was ever said of the results of this id, oldest first."""
        query = sa.select(feedback).where(feedback.c.result_id == result_id).order_by(feedback.c.id)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


class _Batch:
    """One transaction's work."""

    def __init__(self, connection: Connection, given: Sequence[Given], operator: str, now: float, answered: Answered) -> None:
        self._connection = connection
        self._given = given
        self._operator = operator
        self._now = now
        self._answered = answered

    def take(self, answers: dict[str, dict[str, bytes]]) -> None:
        current = self._current(_ids(self._given))
        by_device: dict[str, list[tuple[int, Truth]]] = defaultdict(list)
        for index, each in enumerate(self._given):
            device = self._device_of(index, each, answers)
            if device is not None:
                by_device[device].append((index, each.truth))
        for device, truths in sorted(by_device.items()):
            room = MOST_WAITING - self._count_waiting(device)
            contradictory = find_contradictions(truth for _, truth in truths)
            for index, truth in truths:
                if truth.result_id in contradictory and find_fault(truth) is None:
                    self._refuse(index, truth, Reason.CONTRADICTORY, "the same batch says something else of it too")
                    continue
                refused = judge(truth, read_answer(answers[truth.result_id][device]))
                if refused is not None:
                    self._refuse(index, truth, *refused)
                    continue
                room -= self._write(device, truth, current, room)

    def _write(self, device: str, truth: Truth, current: dict[tuple[str, str], tuple[Any, ...]], room: int) -> bool:
        """Store one; whether it is to be sent."""
        key, meaning = (device, truth.result_id), (truth.label, truth.value)
        before = current.get(key)
        if before == meaning:
            self._answered.repeated += 1
            return False
        if before is not None:
            mine = (feedback.c.device == device) & (feedback.c.result_id == truth.result_id) & feedback.c.replaced.is_(None)
            # one that still waits need not go any more; one that is on its way is followed by this one
            waits = sa.case((feedback.c.state == "waiting", "skipped"), else_=feedback.c.state)
            self._connection.execute(sa.update(feedback).where(mine).values(replaced=self._now, state=waits))
            self._answered.corrected += 1
        else:
            self._answered.taken += 1
        current[key] = meaning
        is_sent = room > 0
        self._answered.not_sent += not is_sent
        if is_sent:
            self._answered.devices.add(device)
        self._connection.execute(
            sa.insert(feedback).values(
                device=device,
                result_id=truth.result_id,
                label=truth.label,
                value=truth.value,
                source=truth.source,
                operator=self._operator,
                time=truth.time,
                received=self._now,
                state="waiting" if is_sent else "unsent",
            )
        )
        return is_sent

    def _device_of(self, index: int, each: Given, answers: dict[str, dict[str, bytes]]) -> str | None:
        found = answers.get(each.truth.result_id, {})
        if each.device is not None:
            found = {device: payload for device, payload in found.items() if device == each.device}
        fault = find_fault(each.truth)
        if fault is not None:
            self._refuse(index, each.truth, Reason.BAD_FEEDBACK, fault)
        elif not found:
            whose = "" if each.device is None else f" of {each.device}"
            self._refuse(index, each.truth, Reason.UNKNOWN_RESULT, f"there is no result {each.truth.result_id!r}{whose}")
        elif len(found) > 1:
            names = ", ".join(sorted(found))
            self._refuse(index, each.truth, Reason.AMBIGUOUS_RESULT, f"{names} each have a result of this id; name the device")
        else:
            return next(iter(found))
        return None

    def _refuse(self, index: int, truth: Truth, reason: Reason, detail: str) -> None:
        self._answered.refused.append(RefusedTruth(index, truth.result_id, reason, detail))

    def _current(self, ids: Sequence[str]) -> dict[tuple[str, str], tuple[Any, ...]]:
        found: dict[tuple[str, str], tuple[Any, ...]] = {}
        query = sa.select(feedback.c.device, feedback.c.result_id, feedback.c.label, feedback.c.value)
        for start in range(0, len(ids), _PORTION):
            where = feedback.c.replaced.is_(None) & feedback.c.result_id.in_(ids[start : start + _PORTION])
            for device, result_id, label, value in self._connection.execute(query.where(where)):
                found[device, result_id] = label, value
        return found

    def _count_waiting(self, device: str) -> int:
        where = (feedback.c.device == device) & (feedback.c.state == "waiting")
        return self._connection.execute(sa.select(sa.func.count()).select_from(feedback).where(where)).scalar_one()


def _ids(given: Sequence[Given]) -> list[str]:
    return sorted({each.truth.result_id for each in given})


def _find_answers(connection: Connection, given: Sequence[Given]) -> dict[str, dict[str, bytes]]:
    """Result id to device to the stored result."""
    ids, found = _ids(given), defaultdict[str, dict[str, bytes]](dict)
    named = {each.device for each in given if each.device is not None}
    everyone = any(each.device is None for each in given)
    # Through the unique index that begins with the device: one by result id alone would cost at each result that comes.
    whose = results.c.device.in_(sa.select(devices.c.device) if everyone else sorted(named))
    query = sa.select(results.c.result_id, results.c.device, results.c.payload).where(whose)
    for start in range(0, len(ids), _PORTION):
        for row in connection.execute(query.where(results.c.result_id.in_(ids[start : start + _PORTION]))):
            found[row.result_id][row.device] = row.payload
    return found
