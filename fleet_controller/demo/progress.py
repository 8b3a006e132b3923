"""What the demo shows while it runs, and the timeline that it keeps for the report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.status import Status
from rich.text import Text


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was seen."""

    at_s: float
    """Seconds since the demo's start."""
    text: str


class Step(msgspec.Struct, kw_only=True):
    """One step of the story."""

    number: int
    title: str
    at_s: float
    duration_s: float = 0.0
    seen: list[Moment] = []


class Progress:
    """Prints one line for each step with its time, and below it what was seen."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []
        self.started = time.time()
        self._origin = time.monotonic()
        self._status: Status | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._origin

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A step: announced at its start, timed at its end."""
        step = Step(number=len(self.steps) + 1, title=title, at_s=round(self.elapsed, 1))
        self.steps.append(step)
        self.console.print(f"[bold]{step.number}. {title}[/bold]")
        began = self.elapsed
        with self.console.status("") as self._status:
            try:
                yield
            finally:
                self._status = None
                step.duration_s = round(self.elapsed - began, 1)
        self.console.print(f"   [green]done[/green] in {step.duration_s:.1f} s")

    def saw(self, text: str) -> None:
        """Keep and print what was seen just now; `text` may hold Rich's markup, which is for the terminal alone."""
        moment = Moment(at_s=round(self.elapsed, 1), text=Text.from_markup(text).plain)
        self.steps[-1].seen.append(moment)
        self.console.print(f"   [dim]{moment.at_s:6.1f} s[/dim]  {text}", markup=True)

    def waiting(self, text: str) -> None:
        """Say what is awaited; on a terminal this line is replaced by the next."""
        if self._status is not None:
            self._status.update(f"[dim]{text}[/dim]")
