"""The account of a run with kills: which events have no result, and which have more than one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """Of the events that the broker had acknowledged to their sender."""

    lost: int
    """Without a result."""
    repeated: int
    """Results beyond the first of their event."""


def account(sent: int, results: Iterable[int]) -> Account:
    """The account of events 0 to `sent`, from the event number of each result that arrived; other numbers do not count."""
    found = Counter(number for number in results if 0 <= number < sent)
    return Account(lost=sent - len(found), repeated=found.total() - len(found))
