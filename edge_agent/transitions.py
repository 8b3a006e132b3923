"""A state machine as a table: what updates and configuration have in common. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Transition(NamedTuple, Generic[S, E]):
    """In `state`, `event` leads to `target`."""

    state: S
    event: E
    target: S


class IllegalTransition(ValueError):
    """The table has no such transition: a defect in the code that drives the machine."""


class Machine(Generic[S, E]):
    """Answers by the table."""

    def __init__(self, name: str, transitions: Iterable[Transition[S, E]]) -> None:
        self._name = name
        self._table = {(item.state, item.event): item.target for item in transitions}

    def step(self, state: S, event: E) -> S:
        """The state after `event`; raises IllegalTransition."""
        try:
            return self._table[state, event]
        except KeyError:
            raise IllegalTransition(f"{self._name}: no transition from {state} by {event}") from None

    def allows(self, state: S, event: E) -> bool:
        """Whether the table has this transition."""
        return (state, event) in self._table
