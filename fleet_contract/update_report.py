"""Where an update of a model stands, and what was seen of the release on live inputs.

The types stand beside `messages.py`, which puts them into `Reported`.
"""

from enum import StrEnum

import msgspec
from msgspec import Struct


class UpdateState(StrEnum):
    """Where one update stands on a device; the transitions are the table in `edge_agent/updates/machine.py`."""

    WAITING = "waiting"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    STAGING = "staging"
    TESTING = "testing"
    SHADOWING = "shadowing"
    ACTIVATING = "activating"
    PROBATION = "probation"
    COMMITTED = "committed"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


# ---- device to controller: last-value slots -------------------------------------------------------------------------


class Figures(Struct, frozen=True, kw_only=True):
    """How one release did over some inferences on this device."""

    inferences: int = 0
    errors: int = 0
    """Inputs that got no scores."""
    crashes: int = 0
    """Ends of its worker that nobody asked for."""
    p50_ms: float | None = None
    """Time for one input: of a batch, from asking the worker to its answer, divided by its inputs."""
    p95_ms: float | None = None
    confidence: float | None = None
    """Median of the highest score; null for a model without labels."""
    drift: float | None = None
    """PSI of the outputs against the release's own baseline; 0 is what chance may give, null without a baseline."""
    input_drift: float | None = None
    """The same of the input that has moved most."""
    memory_bytes: int | None = None
    """Proportional set size of its worker."""


class Evidence(Struct, frozen=True, kw_only=True):
    """What the device has seen of a candidate beside the incumbent (shadowing), or after the switch (probation)."""

    candidate: Figures
    incumbent: Figures | None = None
    """Null where there is no incumbent."""
    compared: int = 0
    """Inputs that both have answered."""
    agreed: int = 0
    """Those with the same label, or scores within a tenth of each other."""
    skipped: int = 0
    """Inputs that the candidate was not asked about, because it was behind."""


class UpdateReport(Struct, frozen=True, kw_only=True):
    """Where the newest update of one model stands; kept after it has ended, so that its reason can be read."""

    model: str
    release: int
    state: UpdateState
    reason: str | None = None
    detail: str | None = None
    attempts: int = 0
    fetched_bytes: int = 0
    """Of the bundle; of the delta where `delta` says so, and then the rest of `total_bytes` is saved."""
    total_bytes: int = 0
    """Of the whole bundle."""
    delta: bool = False
    """Whether the bundle is made from the one before and a delta."""
    since: str
    evidence: Evidence | None = None
    """What was seen of the release on live inputs, while shadowing or on probation."""
    variant: str | None = None
    """The variant that the device picked; null where the release has only one, or none is picked yet."""
    picked: str | None = None
    """Why that one."""
    not_picked: dict[str, str] = msgspec.field(default_factory=dict)
    """Every other variant, to why the device did not pick it."""
    until: str | None = None
    """When what holds the update back ends (RFC 3339), where that is known."""
    inputs: int = 0
    """Live inputs that the release has seen so far, while shadowing or on probation,"""
    inputs_wanted: int = 0
    """of so many; a time ends it too."""
