"""The rules of updating, without I/O: what to do for a model, when to try again, when to give up, which bundles stay."""

from enum import StrEnum
from typing import Final

from edge_agent.update_settings import UpdateSettings
from edge_agent.updates.ledger import Floors, Installed, Ledger, UpdateRecord
from edge_agent.updates.machine import FINAL
from fleet_contract.messages import DesiredModel
from fleet_contract.update_report import UpdateState as State

PROGRESS_BYTES: Final = 64 * 1024
"""An attempt that fetched this much more than any before it does not count as one of the failed attempts."""


class Action(StrEnum):
    """What to do for one model."""

    NOTHING = "nothing"
    START = "start"
    """Begin an update to the desired release; what was under way is superseded."""
    ADOPT = "adopt"
    """The desired release answers already; what was under way is superseded."""
    REFUSE = "refuse"
    """The desired release lies below the floor."""
    REMOVE = "remove"
    """The model is not desired any more."""


def choose(desired: DesiredModel | None, record: UpdateRecord | None, active: Installed | None, floor: int) -> Action:
    """Decide for one model. A release that ended badly is not tried again until desired has named another one or none."""
    if desired is None:
        return Action.NOTHING if record is None and active is None else Action.REMOVE
    is_active = active is not None and active.release == desired.release
    if record is not None and record.release == desired.release:
        if record.state is State.COMMITTED and not is_active:
            return Action.START
        return Action.NOTHING
    if is_active:
        return Action.ADOPT
    return Action.REFUSE if desired.release < floor else Action.START


def retry_delay(attempts: int, shortest: float, longest: float, jitter: float, asked: float = 0.0) -> float:
    """Seconds to wait after the `attempts`-th failed attempt: doubling up to `longest`, times 0.5 to 1 by `jitter` in 0..1.

    `asked`: seconds that the server wants to be left alone; a fleet that was told the same number does not come back at once.
    """
    doubled = shortest * 2.0 ** min(max(attempts - 1, 0), 62)
    return float(max(min(doubled, longest) * (0.5 + 0.5 * jitter), min(asked * (1.0 + 0.25 * jitter), longest)))


def may_retry(attempts: int, max_attempts: int) -> bool:
    """Whether another attempt is allowed after `attempts` failed ones."""
    return attempts < max_attempts


def made_progress(before: int, fetched: int) -> bool:
    """Whether an attempt moved the download on from the most that any attempt had, `before` (both in bytes)."""
    return fetched >= before + PROGRESS_BYTES


def interrupted_too_often(record: UpdateRecord, max_attempts: int) -> bool:
    """Whether an update that restarts keep cutting off is given up, so that a boot loop ends in the last good model."""
    return record.state not in FINAL and record.interruptions >= max_attempts


def is_proven_here(ledger: Ledger, record: UpdateRecord) -> bool:
    """Whether this device has run this very release well before: a return is quick, and asks for no proof again."""
    places = (ledger.previous.get(record.model), ledger.factory.get(record.model))
    return any(item is not None and item.digest == record.digest and item.proven for item in places)


def may_be_held(state: State) -> bool:
    """Whether a hold ends what is under way at once. Later it is asked for again at the next gate."""
    return state is State.FETCHING


def find_kept(ledger: Ledger, model: str, release: int) -> Installed | None:
    """This release of the model, if it was installed here and its bundle was to stay."""
    for place in (ledger.previous, ledger.active, ledger.factory):
        installed = place.get(model)
        if installed is not None and installed.release == release:
            return installed
    return None


def wants_shadow(settings: UpdateSettings, ledger: Ledger, record: UpdateRecord) -> bool:
    """Whether a candidate that has passed its golden samples has to see live inputs before it may answer."""
    desired = ledger.desired.get(record.model)
    wanted = settings.shadow.inputs > 0 and settings.shadow.time > 0 and (desired is None or desired.shadow)
    return wanted and record.model in ledger.active and not is_proven_here(ledger, record)


def wants_probation(settings: UpdateSettings, ledger: Ledger, model: str) -> bool:
    """Whether a release that answers now is watched. Without one to go back to there is nothing to decide."""
    return (settings.probation.inputs > 0 or settings.probation.time > 0) and model in ledger.previous


def digests_to_keep(*installed: Installed | None, record: UpdateRecord | None = None) -> frozenset[str]:
    """The bundles of one model that stay on disk: active, previous, the first good one, and that of an unfinished update."""
    kept = {item.digest for item in installed if item is not None}
    if record is not None and record.state not in FINAL and record.digest:
        kept.add(record.digest)
    return frozenset(kept)


def revoked(ledger: Ledger, floors: Floors) -> dict[str, int]:
    """Model to its active release, where that lies below the floor: it may stay, but never come back."""
    return {
        model: item.release for model, item in sorted(ledger.active.items()) if item.release < floors.releases.get(model, 0)
    }


def below_floor(record: UpdateRecord, floors: Floors) -> str | None:
    """Why the record's release may not be installed, if it was revoked; the floor may have risen since it was desired."""
    floor = floors.releases.get(record.model, 0)
    return f"release {record.release} is below {floor}" if record.release < floor else None
