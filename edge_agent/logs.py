"""Logging: a fixed message plus fields; readable on a terminal, JSON lines under systemd; the newest lines kept in memory."""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
KEPT_LINES: Final = 1000


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was passed as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | fields_of(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in fields_of(record).items())
        line = f"{when} {record.levelname.lower():7} {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class RecentLines(logging.Handler):
    """The newest lines, for the command `collect-logs`."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def newest(self, count: int) -> tuple[str, ...]:
        """The newest `count` lines, oldest first."""
        return tuple(self._lines)[-count:]


def set_up(level: str, as_json: bool | None) -> RecentLines:
    """Log to standard error; called once, by the composition root."""
    if as_json is None:
        as_json = not sys.stderr.isatty()
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    recent = RecentLines()
    logging.basicConfig(level=level.upper(), handlers=[handler, recent], force=True)
    logging.captureWarnings(True)
    return recent


def set_level(level: str) -> None:
    """Log from this severity on, while running."""
    logging.getLogger().setLevel(level.upper())
