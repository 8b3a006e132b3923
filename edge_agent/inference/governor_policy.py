"""Which models are slowed or paused when the board is too hot or short of memory. Pure: a look at the board in, changes out.

Models of the lowest priority go first; among equals, for heat the one that has computed most, for memory the largest. At each
look at most one model is changed for each cause, so that what one change brings is seen before the next.

- *heat*: above `slow_above` models are slowed one by one, and above `pause_above` paused one by one. Below either by `COOLER`
  they come back in the opposite order, a step at a time.
- *memory*: while the workers take more than their budget, or the device has less than the floor available, models are unloaded
  one by one; one is loaded again when there is room for what it took.

A model that was given back something, and loses it again soon, waits twice as long the next time.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from edge_agent.inference.budget import MemoryBudget

COOLER: Final = 5.0
"""Degrees below a bound at which models come back."""
HEAT_STEP: Final = 15.0
"""Seconds between two changes, because a board warms and cools slowly; above `pause_above` it is one at each look."""
MEMORY_STEP: Final = 10.0
"""Seconds after an unloading in which the memory comes free,"""
LOADING: Final = 30.0
"""and after a loading, until what a worker takes can be seen."""
BACK_MIN: Final = 30.0
BACK_MAX: Final = 900.0
"""Seconds that a model stays slowed, paused or unloaded at least."""
SOON: Final = 600.0
"""Seconds within which losing again what was given back doubles that time."""


class Mode(IntEnum):
    """What a model may do."""

    RUN = 0
    SLOW = 1
    """It rests after each batch for a multiple of the batch's time."""
    PAUSE = 2
    """Its inputs wait. The worker stays."""
    UNLOAD = 3
    """Its inputs wait, and its worker is ended."""


class Cause(StrEnum):
    """Why."""

    TEMPERATURE = "temperature"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Limits:
    """In degrees Celsius; None does not look at the temperature."""

    slow_above: float | None
    pause_above: float | None
    memory: MemoryBudget


@dataclass(frozen=True, slots=True)
class Working:
    """One model at a look."""

    name: str
    priority: int
    mode: Mode
    """As it is now: a model that was switched to another release while it was unloaded runs again."""
    memory: int | None
    """Bytes that its worker takes; None without one."""
    busy: float
    """Seconds of CPU threads that it has used since the last look."""


@dataclass(frozen=True, slots=True)
class Look:
    """The board at one moment; None is what it does not tell."""

    now: float
    """Seconds on a monotonic clock."""
    celsius: float | None
    available: int | None
    """Bytes of memory."""
    models: tuple[Working, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a model may do from now on, and why."""

    name: str
    mode: Mode
    cause: Cause
    detail: str


@dataclass(slots=True)
class _Known:
    """What is remembered of one model."""

    heat: Mode = Mode.RUN
    unloaded: bool = False
    memory: int = 0
    """That its worker took last."""
    earliest: dict[Cause, float] = field(default_factory=dict)
    """When it may come back,"""
    given_back: dict[Cause, float] = field(default_factory=dict)
    """when it last did,"""
    stays: dict[Cause, float] = field(default_factory=dict)
    """and how long it had to stay before."""

    @property
    def mode(self) -> Mode:
        return Mode.UNLOAD if self.unloaded else self.heat

    def lose(self, cause: Cause, now: float) -> None:
        soon = now - self.given_back.get(cause, -SOON) < SOON
        stay = min(self.stays[cause] * 2, BACK_MAX) if soon and cause in self.stays else BACK_MIN
        self.stays[cause] = stay
        self.earliest[cause] = now + stay

    def may_return(self, cause: Cause, now: float) -> bool:
        return now >= self.earliest.get(cause, 0.0)


class GovernorPolicy:
    """Remembers from look to look."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[str, _Known] = {}
        self._next_heat = 0.0
        self._next_memory = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no look could ever change anything."""
        limits = self._limits
        watched = (limits.slow_above, limits.pause_above, limits.memory.limit)
        return all(item is None for item in watched) and not limits.memory.floor

    def judge(self, look: Look) -> list[Change]:
        """What is to change now."""
        self._known = {item.name: self._known.get(item.name, _Known()) for item in look.models}
        for item in look.models:
            known = self._known[item.name]
            if item.mode is not Mode.UNLOAD:
                # What another release, or one that came anew, is not held to any more.
                known.unloaded, known.heat = False, item.mode
            if item.memory is not None:
                known.memory = item.memory
        return [*self._judge_heat(look), *self._judge_memory(look)]

    # ---- heat

    def _judge_heat(self, look: Look) -> list[Change]:
        slow, pause, celsius = self._limits.slow_above, self._limits.pause_above, look.celsius
        # a sensor that is silent tells of no heat; otherwise one that breaks would stop the models for good
        if celsius is not None and pause is not None and celsius > pause:
            return self._restrict(look, Mode.PAUSE, f"{celsius:.1f} °C, pause_above is {pause:g} °C")
        if celsius is not None and slow is not None and celsius > slow and look.now >= self._next_heat:
            changes = self._restrict(look, Mode.SLOW, f"{celsius:.1f} °C, slow_above is {slow:g} °C")
            if changes:
                return changes
        told = "the temperature is not known" if celsius is None else f"{celsius:.1f} °C"
        for mode, bound in ((Mode.PAUSE, pause), (Mode.SLOW, slow)):
            if celsius is None or bound is None or celsius <= bound - COOLER:
                below = Mode.SLOW if mode is Mode.PAUSE and slow is not None else Mode.RUN
                changes = self._relax(look, mode, below, told)
                if changes:
                    return changes
        return []

    def _restrict(self, look: Look, mode: Mode, detail: str) -> list[Change]:
        free = [item for item in look.models if self._known[item.name].heat < mode]
        if not free:
            return []
        chosen = min(free, key=lambda item: (item.priority, -item.busy, item.name))
        known = self._known[chosen.name]
        before = known.mode
        known.heat = mode
        known.lose(Cause.TEMPERATURE, look.now)
        self._next_heat = look.now + HEAT_STEP
        return [] if known.mode is before else [Change(chosen.name, known.mode, Cause.TEMPERATURE, detail)]

    def _relax(self, look: Look, mode: Mode, to: Mode, detail: str) -> list[Change]:
        if look.now < self._next_heat:
            return []
        held = [item for item in look.models if self._known[item.name].heat is mode]
        held = [item for item in held if self._known[item.name].may_return(Cause.TEMPERATURE, look.now)]
        if not held:
            return []
        chosen = max(held, key=lambda item: (item.priority, item.name))
        known = self._known[chosen.name]
        before = known.mode
        known.heat = to
        known.given_back[Cause.TEMPERATURE] = look.now
        self._next_heat = look.now + HEAT_STEP
        return [] if known.mode is before else [Change(chosen.name, known.mode, Cause.TEMPERATURE, detail)]

    # ---- memory

    def _judge_memory(self, look: Look) -> list[Change]:
        if look.now < self._next_memory:
            return []
        budget = self._limits.memory
        used = sum(item.memory or 0 for item in look.models)
        shortage = budget.find_shortage(used, look.available)
        if shortage is not None:
            loaded = [item for item in look.models if item.memory is not None and not self._known[item.name].unloaded]
            if not loaded:
                return []
            chosen = min(loaded, key=lambda item: (item.priority, -(item.memory or 0), item.name))
            known = self._known[chosen.name]
            known.unloaded = True
            known.lose(Cause.MEMORY, look.now)
            self._next_memory = look.now + MEMORY_STEP
            return [Change(chosen.name, Mode.UNLOAD, Cause.MEMORY, shortage)]
        away = [item for item in look.models if self._known[item.name].unloaded]
        for item in sorted(away, key=lambda item: (-item.priority, item.name)):
            known = self._known[item.name]
            if known.may_return(Cause.MEMORY, look.now) and budget.has_room(used, look.available, known.memory):
                known.unloaded = False
                known.given_back[Cause.MEMORY] = look.now
                self._next_memory = look.now + LOADING
                return [Change(item.name, known.mode, Cause.MEMORY, "there is room again")]
        return []
