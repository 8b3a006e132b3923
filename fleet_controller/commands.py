"""Remote commands: sent once with a correlation id and an expiry; the reply comes back through intake and is kept."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from fleet_contract import topics
from fleet_contract.messages import Command, Log, MessageError, Reply, decode, encode
from fleet_controller.desired import Publish
from fleet_controller.store.database import Database
from fleet_controller.store.tables import commands, devices, logs


class CommandError(RuntimeError):
    """A command could not be sent; the text says why."""


class UnknownDevice(CommandError):
    """There is no such device, or it was revoked."""


class NotConnected(CommandError):
    """The fleet broker is not reached; try again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """One command and what became of it. Times are seconds since 1970."""

    correlation: str
    device: str
    name: str
    arguments: dict[str, Any]
    operator: str | None
    created: float
    expires: float
    status: str | None
    """`ok` or `error`; None while there is no reply."""
    reply: Reply | None
    answered: float | None


class Commands:
    """Sends commands and waits for their replies. Callable from any thread."""

    def __init__(self, database: Database, publish: Publish, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._publish = publish
        self._clock = clock
        self._waiting: dict[str, threading.Event] = {}

    def send(
        self,
        device: str,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        expiry: float = 60.0,
        operator: str | None = None,
    ) -> str:
        """Send a command to be begun within `expiry` seconds. Returns its correlation id; raises CommandError."""
        correlation = secrets.token_hex(16)
        now = self._clock()
        with self._database.write() as connection:
            known = connection.execute(
                sa.select(devices.c.device).where(devices.c.device == device, devices.c.revoked.is_(None))
            ).first()
            if known is None:
                raise UnknownDevice(f"there is no device {device!r}")
            connection.execute(
                sa.insert(commands).values(
                    correlation=correlation,
                    device=device,
                    name=name,
                    arguments=arguments or {},
                    operator=operator,
                    created=now,
                    expires=now + expiry,
                )
            )
        message = Command(
            correlation=correlation,
            name=name,
            arguments=arguments or {},
            expires=datetime.fromtimestamp(now + expiry, UTC).isoformat().replace("+00:00", "Z"),
        )
        sent = self._publish(
            topics.down(device, topics.Down.COMMAND),
            encode(message),
            expiry=expiry,
            response_topic=topics.up(device, topics.Up.REPLY),
            correlation=correlation.encode(),
        )
        if not sent:
            with self._database.write() as connection:
                connection.execute(sa.delete(commands).where(commands.c.correlation == correlation))
            raise NotConnected("the fleet broker is not reached: the command was not sent")
        return correlation

    def wait(self, correlation: str, timeout: float) -> CommandRecord | None:
        """The command's record, once it is answered or `timeout` seconds have passed; None if there is no such command."""
        answered = self._waiting.setdefault(correlation, threading.Event())
        try:
            record = self.get(correlation)
            if record is None or record.status is not None:
                return record
            answered.wait(timeout)
            return self.get(correlation)
        finally:
            self._waiting.pop(correlation, None)

    def get(self, correlation: str) -> CommandRecord | None:
        """The command's record; None if there is no such command."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(commands).where(commands.c.correlation == correlation)).first()
        return _to_record(row) if row is not None else None

    def of_device(self, device: str, limit: int = 50) -> list[CommandRecord]:
        """The newest commands of a device, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(commands).where(commands.c.device == device).order_by(commands.c.created.desc()).limit(limit)
            ).all()
        return [_to_record(row) for row in rows]

    def log_lines(self, correlation: str) -> tuple[list[str], bool]:
        """The log lines that came for a command so far, in order, and whether they are complete."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(logs.c.part, logs.c.last, logs.c.payload)
                .where(logs.c.correlation == correlation)
                .order_by(logs.c.part)
            ).all()
        lines = [line for row in rows for line in decode(row.payload, Log).lines]
        ends = [row.part for row in rows if row.last]
        # Parts count from 0 or from 1: complete is when none is missing between the first and the last.
        complete = bool(ends) and len(rows) >= ends[0] - rows[0].part + 1 and rows[0].part <= 1
        return lines, complete

    def answered(self, correlations: Iterable[str]) -> None:
        """Wake who waits for these; intake calls it after the commit."""
        for correlation in correlations:
            event = self._waiting.get(correlation)
            if event is not None:
                event.set()


def _to_record(row: Any) -> CommandRecord:
    try:
        reply = decode(row.reply, Reply) if row.reply is not None else None
    except MessageError:
        reply = None
    return CommandRecord(
        correlation=row.correlation,
        device=row.device,
        name=row.name,
        arguments=dict(row.arguments),
        operator=row.operator,
        created=row.created,
        expires=row.expires,
        status=row.status,
        reply=reply,
        answered=row.answered,
    )
