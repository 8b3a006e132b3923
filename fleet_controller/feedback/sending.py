"""The way of what was right to the devices: one numbered message at a time, until the device reports that it has taken it in.

The rows are the queue. A message is sent only while its device is online, so that a broker holds none for days; it is sent
again at the device's next birth and every minute, and the device takes each number once.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_contract import topics
from fleet_contract.feedback import MAX_TRUTHS, Feedback, Truth
from fleet_contract.messages import encode
from fleet_contract.topics import Down
from fleet_controller.desired import Publish
from fleet_controller.rollouts.store import online_devices
from fleet_controller.store.database import Database
from fleet_controller.store.slots import Channel, read_slots
from fleet_controller.store.tables import feedback

log = logging.getLogger(__name__)

RESEND_EVERY: Final = 60.0
"""Seconds."""


class _Reported(msgspec.Struct):
    feedback: int = 0


class Sending:
    """Callable from any thread."""

    def __init__(self, database: Database, publish: Publish, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._publish = publish
        self._clock = clock
        # Choosing a message's rows and publishing it are one step, so that numbers leave in their order.
        self._order = threading.Lock()
        self.counters: Counter[str] = Counter()

    def send(self, devices: Iterable[str]) -> None:
        """Send what these devices have not taken in yet, where they are online."""
        wanted = sorted(set(devices))
        if not wanted:
            return
        with self._order:
            with self._database.read() as connection:
                online = sorted(online_devices(connection, wanted) & _with_something(connection, wanted))
            for device in online:
                with self._database.write() as connection:
                    message = self._next(connection, device)
                if message is not None and self._publish(topics.down(device, Down.FEEDBACK), encode(message)):
                    self.counters["feedback_sent"] += 1

    def send_all(self) -> None:
        """Send again, and for the first time, whatever has not been taken in."""
        with self._database.read() as connection:
            open_ones = sa.select(feedback.c.device).where(feedback.c.state.in_(("waiting", "sent"))).distinct()
            devices = list(connection.execute(open_ones).scalars())
        self.send(devices)

    def reported(self, devices: Iterable[str]) -> set[str]:
        """Settle what these devices report as taken in; returns those for which the next message may go."""
        wanted = sorted(set(devices))
        if not wanted:
            return set()
        with self._database.read() as connection:
            sent = sa.select(feedback.c.device, sa.func.max(feedback.c.number)).where(
                feedback.c.state == "sent", feedback.c.device.in_(wanted)
            )
            outstanding = dict(connection.execute(sent.group_by(feedback.c.device)).all())
            numbers = {device: _reported_number(connection, device) for device in outstanding}
        settled = {device for device, number in outstanding.items() if numbers[device] >= number}
        if settled:
            with self._database.write() as connection:
                for device in sorted(settled):
                    where = (feedback.c.device == device) & (feedback.c.state == "sent")
                    taken = sa.update(feedback).where(where, feedback.c.number <= numbers[device]).values(state="taken")
                    self.counters["feedback_taken"] += connection.execute(taken).rowcount
        return settled

    def _next(self, connection: Connection, device: str) -> Feedback | None:
        """The message that is outstanding, or else a new one, whose rows are marked."""
        columns = (feedback.c.id, feedback.c.number, *(feedback.c[name] for name in _COLUMNS))
        mine = sa.select(*columns).where(feedback.c.device == device).order_by(feedback.c.id)
        rows = connection.execute(mine.where(feedback.c.state == "sent")).all()
        if not rows:
            rows = connection.execute(mine.where(feedback.c.state == "waiting").limit(MAX_TRUTHS)).all()
            if not rows:
                return None
            highest = connection.execute(sa.select(sa.func.max(feedback.c.number)).where(feedback.c.device == device)).scalar()
            # After a restore from a backup the device may know a higher number than this database.
            number = max(highest or 0, _reported_number(connection, device)) + 1
            chosen = feedback.c.id.in_([row.id for row in rows])
            connection.execute(sa.update(feedback).where(chosen).values(state="sent", number=number))
        else:
            number = rows[0].number
        truths = tuple(
            Truth(result_id=row.result_id, label=row.label, value=row.value, source=row.source, by=row.operator, time=row.time)
            for row in rows
        )
        return Feedback(number=number, truths=truths)


_COLUMNS: Final = ("result_id", "label", "value", "source", "operator", "time")


def _with_something(connection: Connection, devices: list[str]) -> set[str]:
    query = sa.select(feedback.c.device).where(feedback.c.device.in_(devices), feedback.c.state.in_(("waiting", "sent")))
    return set(connection.execute(query.distinct()).scalars())


def _reported_number(connection: Connection, device: str) -> int:
    slot = read_slots(connection, [device]).get((device, Channel.REPORTED))
    return msgspec.json.decode(slot.payload, type=_Reported).feedback if slot is not None else 0
