"""`edge-agent decode`: what one payload holds, as JSON lines; on request with what gave no reading, and why."""

import dataclasses
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_agent.ingest.auto import AutoFormat
from edge_agent.ingest.events import DeadLetter, Decoded, Text
from edge_agent.ingest.formats import Ingest
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.settings import AgentSettings, IngestSettings
from fleet_contract.reasons import MEANING, Reason
from fleet_contract.topics import filter_matches

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_DEAD_LETTER = 0, 1, 2, 3
_LONGEST_CELL: Final = 60
_LINE_BREAKS: Final = tuple((chr(code).encode(), f"\\u{code:04x}".encode()) for code in (0x85, 0x2028, 0x2029))
"""Line breaks for some readers of lines, which JSON allows within a text: they leave escaped, as those of ASCII do."""

_OVERRIDES: Final = ("format", "naive_zone", "device_level", "device_path", "time_path")


def run(options: Namespace, load_settings: Callable[[], AgentSettings]) -> int:
    """The command; `load_settings` is called for a pipeline's source. Returns the exit status."""
    skipped: list[tuple[str, str]] = []
    properties = properties_of(options.property, options.content_type)
    try:
        source = source_of(options, load_settings)
        payload = read_payload(options.file, source.max_bytes)
        decoded = decode_message(
            source,
            options.topic,
            payload,
            properties=properties,
            prior=[(topic, read_payload(name, source.max_bytes)) for topic, name in options.prior],
            refused=lambda topic, letter: _complain(f"--prior {topic}: {letter.reason}: {letter.detail}"),
            explain=(lambda path, why: skipped.append((path, why))) if options.explain else ignore,
        )
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}")
        return EXIT_FAILED
    except ValueError as error:
        _complain(str(error))
        return EXIT_USAGE
    if not _print(lines(decoded)):
        return EXIT_FAILED
    if options.explain:
        rows = [*explanation(decoded, skipped)]
        if source.format == "auto":
            found = AutoFormat(source).format_of(Message(options.topic, payload, properties))
            rows.append({"path": "", "note": f"read as `{found}`"})
        for text in explanation_lines(rows, options.output):
            sys.stderr.write(f"{text}\n")
    return EXIT_DEAD_LETTER if isinstance(decoded, DeadLetter) else EXIT_OK


def source_of(options: Namespace, load_settings: Callable[[], AgentSettings]) -> IngestSettings:
    """How to decode: as a pipeline's source or by the defaults, and over both what the command line says; raises ValueError."""
    if options.pipeline is not None:
        pipelines = load_settings().pipelines
        chosen = next((item for item in pipelines if item.name == options.pipeline), None)
        if chosen is None:
            names = ", ".join(item.name for item in pipelines) or "none"
            raise ValueError(f"there is no pipeline {options.pipeline!r}; there are: {names}")
        of_topics = [item for item in chosen.all_sources if item.topic]
        if not of_topics:
            raise ValueError(f"pipeline {options.pipeline!r} has no source with a topic: its events are another one's results")
        topic = options.topic
        source = next((item for item in of_topics if topic and filter_matches(item.topic, topic)), of_topics[0])
    elif options.config is not None:
        raise ValueError("--config needs --pipeline NAME")
    elif options.format is None:
        raise ValueError("--format NAME or --pipeline NAME is needed")
    else:
        source = IngestSettings(topic=options.topic)
    said = {name: getattr(options, name) for name in _OVERRIDES if getattr(options, name) is not None}
    return dataclasses.replace(source, **said)


def properties_of(user: Sequence[tuple[str, str]], content_type: str | None) -> dict[str, Any]:
    """MQTT 5 properties as a format sees them."""
    properties: dict[str, Any] = {"user": list(user)}
    if content_type is not None:
        properties["content_type"] = content_type
    return properties


def read_payload(name: str, limit: int) -> bytes:
    """A file, or standard input for `-`: at most one byte more than the limit, which is enough to see that it is too large."""
    if name == "-":
        if sys.stdin is None:
            raise FileNotFoundError(2, "there is no standard input", "-")
        return sys.stdin.buffer.read(limit + 1)
    with Path(name).open("rb") as file:
        return file.read(limit + 1)


def decode_message(
    settings: IngestSettings,
    topic: str,
    payload: bytes,
    *,
    properties: Mapping[str, Any] | None = None,
    prior: Sequence[tuple[str, bytes]] = (),
    refused: Callable[[str, DeadLetter], object] = lambda _topic, _letter: None,
    explain: Explain = ignore,
) -> Decoded | DeadLetter:
    """What a message holds after the earlier ones of `prior` (topic and payload, oldest first); of them `refused` is told.

    Raises ValueError for an unknown format or zone.
    """
    ingest = Ingest(settings)
    for earlier, content in prior:
        decoded = ingest.decode(earlier, content)
        if isinstance(decoded, DeadLetter):
            refused(earlier, decoded)
        else:
            ingest.accept(earlier, decoded)
    if len(payload) > settings.max_bytes:
        return DeadLetter(Reason.TOO_LARGE, f"more than {settings.max_bytes} bytes")
    return ingest.decode(topic, payload, properties or {}, explain=explain)


def lines(decoded: Decoded | DeadLetter) -> Iterator[bytes]:
    """One JSON object for each reading or text, or the one of a dead letter."""
    if isinstance(decoded, DeadLetter):
        yield _encode({"dead_letter": True, "reason": decoded.reason, "detail": decoded.detail})
    else:
        yield from map(_encode, decoded.events)


def explanation(decoded: Decoded | DeadLetter, skipped: Sequence[tuple[str, str]]) -> Iterator[dict[str, str | None]]:
    """Each reading with its quantity and unit, then each path that gave none with the reason (`why`), then what else to say."""
    if isinstance(decoded, DeadLetter):
        yield {"path": "", "why": f"dead letter, {decoded.reason}: {MEANING.get(decoded.reason, decoded.detail)}"}
    else:
        for event in decoded.events:
            if isinstance(event, Text):
                yield {"path": event.name, "quantity": "(text)", "unit": None}
            else:
                yield {"path": event.name, "quantity": event.quantity, "unit": event.unit}
    for path, why in skipped:
        yield {"path": path, "why": why}
    if not skipped and isinstance(decoded, Decoded) and not decoded.events:
        yield {"path": "", "why": "there is no value in it"}
    for request in decoded.requests:
        yield {"path": "", "note": f"the agent would publish on {request.topic} and ask for what is missing"}


def explanation_lines(rows: Sequence[Mapping[str, str | None]], output: str) -> Iterator[str]:
    """The explanation for a person, as a table, or as JSON lines."""
    if output == "json":
        yield from (_encode(row).decode() for row in rows)
        return
    cells = [
        (
            _cell(row["path"] or "(the payload)"),
            _cell(row.get("quantity") or ""),
            _told(row),
        )
        for row in [{"path": "PATH", "quantity": "QUANTITY", "unit": "UNIT"}, *rows]
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(2)]
    for path, quantity, rest in cells:
        yield f"{path:{widths[0]}}  {quantity:{widths[1]}}  {rest}"


def _told(row: Mapping[str, str | None]) -> str:
    if "why" in row:
        return f"no reading: {_printable(row['why'] or '')}"
    return _printable(row["note"] or "") if "note" in row else _cell(row["unit"] or "no unit")


def _print(output: Iterator[bytes]) -> bool:
    """Write to standard output; False if that cannot be. A reader that has seen enough is no failure."""
    if sys.stdout is None:
        _complain("there is no standard output")
        return False
    try:
        for line in output:
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered must not fail again at the exit
        if isinstance(error, BrokenPipeError):
            return True
        _complain(f"standard output: {error.strerror}")
        return False
    return True


def _complain(text: str) -> None:
    sys.stderr.write(f"edge-agent decode: {_printable(text)}\n")


def _cell(text: str) -> str:
    printable = _printable(text[: _LONGEST_CELL + 1])
    return printable if len(printable) <= _LONGEST_CELL else f"{printable[: _LONGEST_CELL - 1]}…"


def _printable(text: str) -> str:
    """Payloads choose names: one must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _encode(event: Any) -> bytes:
    try:
        line = msgspec.json.encode(event)
    except UnicodeEncodeError:  # an argument that is not UTF-8 comes with lone surrogates, which only an escape can say
        return json.dumps(msgspec.to_builtins(event)).encode()
    for character, escape in _LINE_BREAKS:
        line = line.replace(character, escape)
    return line
