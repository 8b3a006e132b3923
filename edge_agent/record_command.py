"""`edge-agent record`: live messages of the site broker into a recording, on a session that ends with the command."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from edge_agent.link.port import Delivery, Receipt
from edge_agent.link.session import Link
from edge_agent.logs import set_up
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.recording import Recorded, to_line
from edge_agent.settings import AgentSettings, LogLevel
from edge_agent.sources import Routes
from fleet_contract.topics import SITE_SUFFIX, check_filter

CONNECT_SECONDS: Final = 15.0
PROGRESS_SECONDS: Final = 1.0


class Recorder:
    """The link's handler: writes each message, then acknowledges it."""

    def __init__(self, out: BinaryIO, most: int | None, enough: Callable[[], object]) -> None:
        self._out = out
        self._most = most
        self._enough = enough
        self.link: Link | None = None
        self.connected = False
        self.messages = 0
        self.topics: set[str] = set()

    def on_up(self, _session_present: bool) -> None:
        """Connected."""
        self.connected = True

    def on_down(self, reason: str) -> None:
        """What is published meanwhile is not recorded: the session ends with its connection."""
        sys.stderr.write(f"edge-agent record: the site broker is gone ({reason}), trying again\n")

    def on_published(self, _outcomes: list[tuple[int, Receipt]]) -> None:
        """Nothing is published."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Write down what came."""
        now = time.time()
        for item in deliveries:
            if self._most is not None and self.messages >= self._most:
                break
            self.messages += 1
            self.topics.add(item.topic)
            self._out.write(to_line(Recorded(item.topic, item.payload, item.properties, item.qos, item.retain, now)))
        self._out.flush()
        if self.link is not None:
            self.link.ack(deliveries)
        if self._most is not None and self.messages >= self._most:
            self._enough()


def record(
    settings: AgentSettings, topics: Sequence[str], out: str, *, duration: float | None, count: int | None, append: bool
) -> int:
    """Run the command until it is interrupted, `duration` seconds have passed or `count` messages are written.

    Returns the exit status: 0, 1 (no connection, a refused filter, the file), 2 (wrong usage).
    """
    filters = [(topic, 2) for topic in topics] or Routes([Pipeline(item) for item in settings.pipelines]).filters()
    for topic, _ in filters:
        try:
            check_filter(topic)
        except ValueError as error:
            return _fail(2, f"--topic: {error}")
    if not filters:
        return _fail(2, "the configuration has no pipelines: name what to record with --topic")
    set_up(LogLevel.WARNING, as_json=False)  # why there is no connection
    try:
        with ExitStack() as stack:
            file = sys.stdout.buffer if out == "-" else stack.enter_context(Path(out).open("ab" if append else "xb"))
            return _record(settings, filters, file, out, duration, count)
    except FileExistsError:
        return _fail(1, f"{out} exists: choose another name, or --append")
    except OSError as error:
        return _fail(1, f"{error.filename or out}: {error.strerror}")


def _record(
    settings: AgentSettings,
    filters: Sequence[tuple[str, int]],
    file: BinaryIO,
    out: str,
    duration: float | None,
    count: int | None,
) -> int:
    loop = Loop()
    recorder = Recorder(file, count, loop.stop)
    # a session that ends with the connection: nobody comes back for what the broker would keep
    broker = replace(settings.site, session_expiry=0.0)
    client_id = f"{settings.device}{SITE_SUFFIX}-record-{os.getpid()}"
    link = recorder.link = Link("record", client_id, broker, recorder, loop.post, filters=filters)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.stop())
    began = time.monotonic()
    if duration is not None:
        loop.call_later(duration, loop.stop)
    loop.call_later(CONNECT_SECONDS, lambda: None if recorder.connected else loop.stop())
    if sys.stderr.isatty():
        loop.call_every(PROGRESS_SECONDS, lambda: sys.stderr.write(f"\r{_told(recorder, began)} ") and sys.stderr.flush())
    link.start()
    loop.run()
    link.stop()
    loop.close()
    file.flush()
    if out != "-":
        os.fsync(file.fileno())
    if not recorder.connected:
        return _fail(1, f"no connection to {broker.host}:{broker.port}")
    refused = link.stats()["subscriptions_refused"]
    sys.stderr.write(f"{_told(recorder, began)} in {out}\n")
    if refused:
        return _fail(1, f"the broker refused {refused} of {len(filters)} filters: {', '.join(topic for topic, _ in filters)}")
    return 0


def _told(recorder: Recorder, began: float) -> str:
    return f"recorded {recorder.messages} messages of {len(recorder.topics)} topics in {time.monotonic() - began:.0f} s"


def _fail(status: int, text: str) -> int:
    sys.stderr.write(f"edge-agent record: {text}\n")
    return status
