"""Notes: things that the controller must hear about. They leave the outbox on its acknowledgement alone."""

import base64
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from edge_agent.journal.batch import OutboxRow
from fleet_contract.messages import Note, NoteKind, encode
from fleet_contract.reasons import Reason
from fleet_contract.topics import Up, up
from fleet_contract.update_report import UpdateState

log = logging.getLogger(__name__)

REPEAT_AFTER: Final = 60.0
"""Seconds in which dead letters of one topic and reason are counted instead of told one by one."""
REMEMBERED: Final = 1000
SHOWN_BYTES: Final = 256


class Notes:
    """Makes notes and hands each to `add_row` as a durable outbox row."""

    def __init__(self, device: str, add_row: Callable[[OutboxRow], None], now: Callable[[], float] = time.monotonic) -> None:
        self._topic = up(device, Up.NOTE)
        self._add_row = add_row
        self._now = now
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def write(
        self,
        *,
        kind: NoteKind,
        detail: str,
        reason: str | None = None,
        model: str | None = None,
        release: int | None = None,
        state: UpdateState | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        """Put one note into the outbox, and say the same in the log."""
        said = {"kind": kind.value, "reason": reason, "detail": detail, "model": model, "release": release}
        log.log(logging.WARNING if reason else logging.INFO, "note", extra={key: value for key, value in said.items() if value})
        note = Note(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            kind=kind,
            reason=reason,
            detail=detail,
            model=model,
            release=release,
            state=state,
            fields=fields or {},
        )
        self._add_row(OutboxRow("note", self._topic, encode(note), durable=True))

    def dead_letter(self, topic: str, payload: bytes, reason: Reason, detail: str, pipeline: str) -> None:
        """Tell of a payload that cannot be read or scored.

        The first of a topic and reason is told with the start of its payload; those that follow within a minute are counted
        and the count is told with the next one, so that a broken sensor cannot fill the outbox.
        """
        key = (topic, reason.value)
        now = self._now()
        last, more = self._told.get(key, (-REPEAT_AFTER, 0))
        if now - last < REPEAT_AFTER:
            self._told[key] = (last, more + 1)
            return
        if len(self._told) >= REMEMBERED:
            self._told.pop(next(iter(self._told)))
        self._told[key] = (now, 0)
        self.write(
            kind=NoteKind.DEAD_LETTER,
            reason=reason,
            detail=detail,
            fields={
                "topic": topic,
                "pipeline": pipeline,
                "size": len(payload),
                "payload_start": base64.b64encode(payload[:SHOWN_BYTES]).decode(),
                "not_told_before": more,
            },
        )
