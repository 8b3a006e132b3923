"""Lets updates wait: asks `conditions.py` at each gate, tells once what is waited for, and keeps the count of fetched bytes."""

from collections.abc import Callable
from typing import Final

from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.conditions import (
    DEVICE,
    Held,
    Question,
    Surroundings,
    believed,
    data_left,
    ends_fetching,
    find_hold,
    holds_fetching,
    holds_trying,
    month_of,
)
from edge_agent.updates.ledger import Hold, UpdateRecord
from edge_agent.updates.ports import Stage
from edge_agent.updates.steps import Steps
from edge_agent.updates.store import UpdateStore
from fleet_contract.reasons import Reason

LOOK_AGAIN: Final = 60.0
"""Seconds until what holds an update back is looked at again: the clock may have been set, the battery charged."""
KEEP_BYTES: Final = 1024**2
"""So much is received between two writes of the count at most."""


class Holding:
    """Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        steps: Steps,
        *,
        store: UpdateStore,
        stage: Stage,
        clock: Callable[[], float],
        surroundings: Callable[[], Surroundings],
    ) -> None:
        self._settings, self._steps = settings, steps
        self._store, self._ledger, self._floors = store, store.ledger, store.floors
        self._stage, self._clock, self._surroundings = stage, clock, surroundings
        self._unkept = 0

    # ---- the gates --------------------------------------------------------------------------------------------------

    def before_begin(self, record: UpdateRecord) -> Held | None:
        """What holds back the next attempt: fetching, or where the bundle is on the disk already, trying it."""
        if self._is_return(record):
            return None
        if self.is_staged(record):
            return holds_trying(self._question(record))
        return holds_fetching(self._question(record))

    def while_fetching(self, record: UpdateRecord) -> Held | None:
        """What ends a download that is under way: the way to the network may be another one now."""
        return None if self._is_return(record) else ends_fetching(self._question(record))

    def before_trying(self, record: UpdateRecord) -> Held | None:
        """What holds back the golden samples and what follows them."""
        return None if self._is_return(record) else holds_trying(self._question(record))

    def before_switch(self, record: UpdateRecord) -> Held | None:
        """What has begun in a window is finished, but not against an operator's word."""
        return None if self._is_return(record) else find_hold(self._ledger, record.model)

    def is_staged(self, record: UpdateRecord) -> bool:
        """Whether this update has unpacked its bundle before, and waits since."""
        return bool(record.digest) and self._stage.folder(record.model, record.digest) is not None

    def wait(self, record: UpdateRecord, held: Held) -> float:
        """Say what the record waits for, once for each change; returns the seconds until it is to be looked at again."""
        before = (record.reason, record.until, record.detail)
        fixed = held.reason in (Reason.HELD, Reason.DATA_BUDGET)
        held.put_into(record)
        if not fixed and (record.reason, record.until) == before[:2] and before[2] is not None:
            record.detail = before[2]  # not told anew with each degree
        if (record.reason, record.until, record.detail) != before or held.reason not in record.told:
            if held.reason not in record.told:
                record.told = (*record.told, held.reason)
                self._steps.tell(record, held.detail)
            self._store.save()
            self._steps.changed()
        return LOOK_AGAIN if held.until is None else min(max(held.until - self._clock(), 0.001), LOOK_AGAIN)

    # ---- the operator's word ----------------------------------------------------------------------------------------

    def hold(self, model: str | None, why: str, now: str) -> None:
        """No update of the model (None: of any) goes on until it is let go. A running download ends; its bytes stay."""
        self._ledger.holds[model or DEVICE] = Hold(since=now, why=why)
        self._store.save()
        current = self._steps.current
        if current is not None and policy.may_be_held(current.state) and not self._is_return(current):
            held = find_hold(self._ledger, current.model)
            if held is not None:
                self._steps.hold(current, held)

    def let_go(self, model: str | None) -> tuple[str, ...]:
        """The hold of the model, or with None every hold, is over; returns those that are."""
        holds = self._ledger.holds
        names = tuple(sorted(holds)) if model is None else (model,) if model in holds else ()
        for name in names:
            del holds[name]
        self._store.save()
        return names

    # ---- the data budget --------------------------------------------------------------------------------------------

    @property
    def received(self) -> int:
        """Bytes in this month."""
        self._turn_month()
        return self._ledger.data.received

    @property
    def left(self) -> int | None:
        """Bytes that may still be fetched in this month; None without a budget."""
        return data_left(self._settings.data_budget, self._ledger.data)

    def receive(self, amount: int) -> None:
        """So many bytes more have come."""
        self._turn_month()
        self._ledger.data.received += amount
        self._unkept += amount
        if self._unkept >= KEEP_BYTES:
            self._unkept = 0
            self._store.save()

    def _turn_month(self) -> None:
        """A clock that is not believed turns no month, and one that is set back refills no budget.

        But a month that a wrong clock has turned to is not waited for.
        """
        now, data = self._clock(), self._ledger.data
        if not believed(now, self._floors.last_time) or (month := month_of(now)) == data.month:
            return
        if month > data.month:
            data.received = 0
            for record in self._ledger.records.values():
                record.needed_bytes = 0  # asked anew: even where a whole month is not enough, a delta may have come since
        data.month = month

    def _question(self, record: UpdateRecord) -> Question:
        self._turn_month()
        active = self._ledger.active.get(record.model)
        return Question(
            settings=self._settings,
            ledger=self._ledger,
            record=record,
            now=self._clock(),
            last_time=self._floors.last_time,
            urgent=active is None or active.release < self._floors.releases.get(record.model, 0),
            around=self._surroundings(),
        )

    def _is_return(self, record: UpdateRecord) -> bool:
        kept = policy.find_kept(self._ledger, record.model, record.release)
        return kept is not None and self._stage.folder(record.model, kept.digest) is not None
