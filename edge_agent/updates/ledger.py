"""What the update room remembers across restarts, as values; `store.py` keeps it, `policy.py` judges it."""

import msgspec
from msgspec import Struct

from edge_agent.updates.trust.job import MetadataValid
from fleet_contract.messages import DesiredModel
from fleet_contract.update_report import Evidence, Figures, UpdateReport, UpdateState


class UpdateRecord(Struct, kw_only=True):
    """The newest update of one model. It stays after its end, so that its reason can be read and is not tried again."""

    model: str
    release: int
    since: str
    state: UpdateState = UpdateState.WAITING
    reason: str | None = None
    detail: str | None = None
    attempts: int = 0
    """Attempts without progress so far; an attempt that fetched a good part more starts the count again."""
    interruptions: int = 0
    """Restarts in the middle of this update."""
    fetched_bytes: int = 0
    most_bytes: int = 0
    """The largest `fetched_bytes` of any attempt: a delta that is given up begins no new count of attempts."""
    total_bytes: int = 0
    delta: bool = False
    """Whether `fetched_bytes` are of a delta."""
    version: str = ""
    digest: str = ""
    """From the signed metadata; empty before it was verified."""
    variant: str | None = None
    """Which of the release's variants; None where it has only one, or none is picked yet."""
    picked: str = ""
    """Why that one."""
    not_picked: dict[str, str] = msgspec.field(default_factory=dict)
    """Every other variant, to why not."""
    file: str = ""
    """The verified bundle that waits to be staged."""
    evidence: Evidence | None = None
    """The newest, of shadowing or probation; it stays after the end."""
    incumbent: Figures | None = None
    """How the release before did until the switch; None where there was none."""
    watched_inputs: int = 0
    """On probation, before the last restart."""
    inputs: int = 0
    """Live inputs so far, while it shadows or is on probation,"""
    inputs_wanted: int = 0
    """of so many."""
    until: str | None = None
    """RFC 3339: when what holds it back ends, where that is known."""
    needed_bytes: int = 0
    """What the fetching process found to be more than the data budget had left."""
    told: tuple[str, ...] = ()
    """The reasons to wait that a note has told of."""
    watched_seconds: float = 0.0

    def report(self) -> UpdateReport:
        """As it stands in reported state."""
        return UpdateReport(
            model=self.model,
            release=self.release,
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            attempts=self.attempts,
            fetched_bytes=self.fetched_bytes,
            total_bytes=self.total_bytes,
            delta=self.delta,
            since=self.since,
            evidence=self.evidence,
            variant=self.variant,
            picked=self.picked or None,
            not_picked=self.not_picked,
            until=self.until,
            inputs=self.inputs,
            inputs_wanted=self.inputs_wanted,
        )


class Installed(Struct, frozen=True, kw_only=True):
    """A release whose bundle is unpacked on this device."""

    model: str
    release: int
    version: str
    digest: str
    since: str
    """When it became active; RFC 3339."""
    proven: bool = True
    """Whether it is past its probation. Only such a release is gone back to."""
    variant: str | None = None


class Move(Struct, frozen=True, kw_only=True):
    """One line of the log of a model's updates."""

    time: str
    """RFC 3339."""
    release: int
    before: UpdateState | None = msgspec.field(name="from")
    """None at the beginning."""
    event: str
    """Of the table, or `desired` or `restart` (`history.py`)."""
    after: UpdateState = msgspec.field(name="to")
    reason: str | None = None


class Hold(Struct, frozen=True, kw_only=True):
    """An operator wants no update to go on."""

    since: str
    """RFC 3339."""
    why: str = ""


class DataUse(Struct, kw_only=True):
    """What the fetching processes have received in one calendar month."""

    month: str = ""
    """Such as `2026-11`, in UTC."""
    received: int = 0
    """Bytes."""


class Ledger(Struct, kw_only=True):
    """Everything but the floors."""

    version: int = 1
    """Of the meaning of all this (`store.py`); what has none is of the first."""
    revision: int = 0
    """Of the last desired state taken in."""
    desired: dict[str, DesiredModel] = msgspec.field(default_factory=dict)
    records: dict[str, UpdateRecord] = msgspec.field(default_factory=dict)
    active: dict[str, Installed] = msgspec.field(default_factory=dict)
    previous: dict[str, Installed] = msgspec.field(default_factory=dict)
    """The last proven release before the active one."""
    factory: dict[str, Installed] = msgspec.field(default_factory=dict)
    """The first release that was ever proven here: it stays on the disk for good, as the last resort."""
    costs: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)
    """Model to variant to milliseconds for one inference, as its newest proven release took here."""
    history: dict[str, tuple[Move, ...]] = msgspec.field(default_factory=dict)
    """The newest moves of each model's updates, oldest first."""
    holds: dict[str, Hold] = msgspec.field(default_factory=dict)
    """By model, or `*` for all."""
    data: DataUse = msgspec.field(default_factory=DataUse)


class Floors(Struct, kw_only=True):
    """What may never sink: the answer to an attacker who replays old but well-signed metadata, or sets the clock back."""

    timestamp_version: int = 0
    timestamp_keys: str = ""
    """Whose timestamps those are. Root alone takes a key away, and then the version begins anew."""
    releases: dict[str, int] = msgspec.field(default_factory=dict)
    """Model to the highest floor seen."""
    last_time: float = 0.0
    """Seconds since 1970 when metadata was last found valid. It cannot run ahead of the expiry that the keys signed."""
    checked: float = 0.0
    """The same, of the newest metadata, by the clock or the last time seen; 0: never."""
    expires: float = 0.0
    """Seconds since 1970 when the first document of the newest metadata expires; 0: not known."""
    told_expired: float | None = None
    """The expiry that a note has told of."""
    told_revoked: dict[str, int] = msgspec.field(default_factory=dict)
    """Model to the active release of which a note has told that it was revoked."""

    def take_in(self, model: str | None, seen: MetadataValid) -> bool:
        """Take in what verified metadata said; returns whether anything has moved. Under the same keys no floor sinks.

        `model`: what the metadata was asked about; None where that was something else than a release.
        """
        before = msgspec.structs.asdict(self) | {"releases": dict(self.releases)}
        same = self.timestamp_keys in ("", seen.timestamp_keys)
        self.timestamp_version = max(self.timestamp_version if same else 0, seen.timestamp_version)
        self.timestamp_keys = seen.timestamp_keys
        asked = {} if model is None else {model: seen.release_floor}
        for name, floor in (*seen.floors.items(), *asked.items()):
            self.releases[name] = max(self.releases.get(name, 0), floor)
        self.last_time = max(self.last_time, seen.reference_time)
        self.checked = seen.reference_time
        self.expires = seen.expires or self.expires
        return before != msgspec.structs.asdict(self)
