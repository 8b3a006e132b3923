"""Printing: tables on a terminal, JSON for programs, and the watching of either."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from fleet_controller.cli.arguments import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_INTERVAL: Final = 2.0
_WHOLE: Final = 20
"""Characters of a word that is not broken."""
_STYLES: Final = {
    **dict.fromkeys(("online", "committed", "healthy", "done", "made", "ok"), "green"),
    **dict.fromkeys(("rejected", "rolled_back", "lost", "aborted", "error", "refused"), "red"),
    **dict.fromkeys(("paused", "returned", "offline", "impossible"), "yellow"),
}


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> "RenderableType":
    """A table; a None in it is shown as a dash. Texts of devices are shown as they are, never as markup.

    On a narrow terminal texts are folded, and nothing is cut off: names, states and codes stay whole as long as there is room.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    view = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [["-" if cell is None or cell == "" else str(cell) for cell in row] for row in rows]
    for at, column in enumerate(columns):
        words = [column, *(cells[at] for cells in shown)]
        whole = all(len(word) <= _WHOLE and " " not in word for word in words)
        view.add_column(column, overflow="fold", no_wrap=whole)
    for cells in shown:
        view.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    return view


def show(
    fetch: Callable[[], Any],
    render: Callable[[Any], "RenderableType"],
    output: Output,
    *,
    watch: bool = False,
    finished: Callable[[Any], bool] = lambda _value: False,
) -> Any:
    """Print what `fetch` gives; with `watch` again and again, until Ctrl-C or until it is `finished`. Returns the last value.

    Watched JSON is one line for each change.
    """
    value = fetch()
    if output is Output.JSON:
        print_json(value, compact=watch)
    if not watch:
        if output is Output.TABLE:
            console().print(render(value))
        return value
    try:
        if output is Output.JSON:
            while not finished(value):
                time.sleep(WATCH_INTERVAL)
                before, value = value, fetch()
                if value != before:
                    print_json(value, compact=True)
        else:
            from rich.live import Live

            with Live(render(value), console=console(), auto_refresh=False) as live:
                while not finished(value):
                    time.sleep(WATCH_INTERVAL)
                    value = fetch()
                    live.update(render(value), refresh=True)
    except KeyboardInterrupt:
        pass  # how watching ends
    return value


def console() -> Any:
    """Standard output; not folded to 80 columns where it is not a terminal, so that lines can be searched."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def print_json(value: Any, *, compact: bool = False) -> None:
    """One JSON value on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))


def age(moment: str | None) -> str | None:
    """How long ago an RFC 3339 time was: `5 s`, `3 min`, `2 h`, `4 d`."""
    if moment is None:
        return None
    seconds = max((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds(), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float | None) -> str | None:
    """Bytes for people: `14.2 MiB`."""
    if count is None:
        return None
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def short(digest: str | None) -> str | None:
    """The beginning of a digest, enough to tell releases apart."""
    return digest.removeprefix("sha256:")[:12] if digest else None
