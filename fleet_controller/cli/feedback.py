"""`fleet feedback`: what was right for a result, or for many out of a file."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from fleet_controller.cli.arguments import Output, OutputOption
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import Exit, fail
from fleet_controller.cli.output import age, print_json, show, table

FIELDS: Final = ("result_id", "label", "value", "device", "source", "time")
PORTION: Final = 500


@dataclass(slots=True)
class _Line:
    number: int
    truth: dict[str, Any]


@dataclass(slots=True)
class _Sum:
    taken: int = 0
    corrected: int = 0
    repeated: int = 0
    not_sent: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("taken", "corrected", "repeated", "not_sent", "refused")}


def give(
    result_id: Annotated[str | None, typer.Argument(metavar="[RESULT_ID]", help="The result that it is about.")] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", help="The label that was right.")] = None,
    value: Annotated[float | None, typer.Option("--value", help="The value that was right, for one without labels.")] = None,
    device: Annotated[str | None, typer.Option("--device", "-d", help="Where several devices have such a result.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it is known from, such as grower or lab.")] = None,
    time: Annotated[str | None, typer.Option(help="When it was seen to be so, RFC 3339.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Many at once: .csv with a header, or .jsonl. Fields: " + ", ".join(FIELDS) + "."),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Show what was said of this result so far; give nothing.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what was right for a result, so that accuracy can be measured (fleet model accuracy).

    Saying the same again changes nothing; saying something else corrects it, and what was said before is kept.
    With --file every line stands alone: what is refused is named by its line, and the exit code is then 1.

    Example: fleet feedback 9f86d081884c7d65 --label frost --device barn-1

    Example: fleet feedback --file labels.csv
    """
    if (result_id is None) == (file is None):
        fail(Exit.USAGE, "give a RESULT_ID or --file: exactly one of the two")
    if file is not None and (label, value, device, source, time, history) != (None, None, None, None, None, False):
        fail(Exit.USAGE, "with --file everything stands in the file")
    service = Service(timeout=120.0)
    if history:
        show(lambda: service.get(f"/results/{quote(str(result_id), safe='')}/feedback"), _render_history, output)
        return
    total = _Sum()
    if file is None:
        if (label is None) == (value is None):
            fail(Exit.USAGE, "give --label or --value: exactly one of the two")
        truth = {"result_id": result_id, "label": label, "value": value, "device": device, "source": source, "time": time}
        _send(service, [_Line(0, truth)], total)
    else:
        _send_file(service, file, total)
    for each in total.refused:
        where = f"{file}:{each['line']}: " if file is not None else ""
        typer.echo(f"fleet: {where}{each['detail']} ({each['reason']})", err=True)
    view = total.view()
    if output is Output.JSON:
        print_json(view)
    elif file is not None or not total.refused:
        typer.echo(", ".join(f"{view[name]} {name.replace('_', ' ')}" for name in ("taken", "corrected", "repeated")))
        if total.not_sent:
            typer.echo(f"{total.not_sent} of them do not go to the devices: too many wait for them already")
    if total.refused:
        unknown = file is None and total.refused[0]["reason"] == "unknown_result"
        raise typer.Exit((Exit.NOT_FOUND if unknown else Exit.FAILED).value)


def _send_file(service: Service, file: Path, total: _Sum) -> None:
    """All lines are read first: two of them that contradict each other may stand far apart."""
    lines: list[_Line] = []
    try:
        for number, truth in _read(file):
            if isinstance(truth, str):
                total.refused.append({"line": number, "result_id": None, "reason": "bad_feedback", "detail": truth})
            else:
                lines.append(_Line(number, truth))
    except OSError as error:
        fail(Exit.FAILED, f"{file}: {error.strerror}")
    except UnicodeDecodeError:
        fail(Exit.FAILED, f"{file} is not UTF-8")
    said: dict[tuple[Any, Any], set[tuple[Any, Any]]] = {}
    for line in lines:
        said.setdefault(_key(line), set()).add((line.truth.get("label"), line.truth.get("value")))
    clear = [line for line in lines if len(said[_key(line)]) == 1]
    total.refused += [
        {
            "line": line.number,
            "result_id": line.truth["result_id"],
            "reason": "contradictory",
            "detail": f"the file says something else of result {line.truth['result_id']} too",
        }
        for line in lines
        if len(said[_key(line)]) > 1
    ]
    for start in range(0, len(clear), PORTION):
        _send(service, clear[start : start + PORTION], total)
        if len(clear) > PORTION:
            typer.echo(f"{min(start + PORTION, len(clear))} of {len(clear)} lines", err=True)
    total.refused.sort(key=lambda each: each["line"])


def _key(line: _Line) -> tuple[Any, Any]:
    return line.truth.get("device"), line.truth["result_id"]


def _send(service: Service, lines: list[_Line], total: _Sum) -> None:
    answer = service.post("/feedback", {"truths": [line.truth for line in lines]})
    for name in ("taken", "corrected", "repeated", "not_sent"):
        setattr(total, name, getattr(total, name) + answer[name])
    for each in answer["refused"]:
        total.refused.append({"line": lines[each.pop("index")].number} | each)


def _read(file: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(number of the line, fields or what is wrong with it)."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        if file.suffix == ".csv":
            reader = csv.reader(opened)
            header = [name.strip() for name in next(reader, [])]
            unknown = [name for name in header if name not in FIELDS]
            if unknown or "result_id" not in header:
                fail(Exit.FAILED, f"{file}:1: the header names some of {', '.join(FIELDS)}, and result_id; got {header}")
            for row in reader:
                if row:
                    yield reader.line_num, _from_csv(header, row)
        elif file.suffix == ".jsonl":
            for number, line in enumerate(opened, 1):
                if line.strip():
                    yield number, _from_json(line)
        else:
            fail(Exit.USAGE, f"{file}: the name ends in .csv or .jsonl")


def _from_csv(header: list[str], row: list[str]) -> dict[str, Any] | str:
    if len(row) != len(header):
        return f"{len(row)} columns, the header has {len(header)}"
    found: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=True) if cell != ""}
    if "value" in found:
        try:
            found["value"] = float(found["value"])
        except ValueError:
            return f"value {found['value']!r} is not a number"
    return _checked(found)


def _from_json(line: str) -> dict[str, Any] | str:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(found, dict):
        return "not a JSON object"
    unknown = sorted(set(found) - set(FIELDS))
    return f"unknown field {unknown[0]!r}; there are {', '.join(FIELDS)}" if unknown else _checked(found)


def _checked(found: dict[str, Any]) -> dict[str, Any] | str:
    """Only what the whole request would be refused for; the rest is judged by the service, line by line."""
    if "result_id" not in found:
        return "result_id is missing"
    for name, kind in (("value", (int, float)), *((name, (str,)) for name in FIELDS if name != "value")):
        if found.get(name) is not None and (not isinstance(found[name], kind) or isinstance(found[name], bool)):
            return f"{name} is not a {'number' if name == 'value' else 'text'}"
    if found["result_id"] is None:
        return "result_id is missing"
    value = found.get("value")
    if value is not None and not abs(value) <= 1.7e308:
        return "value is not a finite number"
    return found


def _render_history(rows: list[dict[str, Any]]) -> Any:
    said = [
        (
            each["device"],
            each["label"] if each["label"] is not None else each["value"],
            each["source"],
            each["operator"],
            age(each["received"]),
            "holds" if each["replaced"] is None else "replaced",
            each["state"],
        )
        for each in rows
    ]
    return table(("device", "was right", "source", "by", "given ago", "", "to the device"), said)
