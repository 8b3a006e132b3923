"""What the story has to tell: when things happened, and what was seen of them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Told:
    """What happened when; times are seconds since 1970."""

    releases: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(model, version) to the release as `fleet model add` answered."""
    marks: list[tuple[float, str]] = field(default_factory=list)
    """Moments for the plots."""
    refusals: list[dict[str, Any]] = field(default_factory=list)
    refusing: tuple[float, float] = (0.0, 0.0)
    """From the first bad release's start until both were returned."""
    taken_back: dict[str, Any] = field(default_factory=dict)
    """What became of version 5, and what the device had seen of it."""
    canary_cut: tuple[float, float] = (0.0, 0.0)
    """When the canary alone had no link to the fleet."""
    cut: tuple[float, float] = (0.0, 0.0)
    outbox_peak: dict[str, int] = field(default_factory=dict)
    """Device to outbox rows just before the link came back."""
    outboxes: list[tuple[float, str, int]] = field(default_factory=list)
    """Time, device and rows in its outbox, around the cut."""
    attested: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Device to model to what it attests at the end, while the sensors run."""
    online: dict[str, bool] = field(default_factory=dict)
    sensors_stopped: float = 0.0
