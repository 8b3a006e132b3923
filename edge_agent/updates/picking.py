"""Which variant of a release this device takes: it filters by what it can run and ranks by what costs least. Pure.

The rules, in order:

1. A variant that is on the disk already is taken (going back asks for no download).
2. Out goes what the device cannot run: another than the configuration names, a runtime that is missing or out of range, an
   opset that it is too old for, accelerators that it lacks, more memory than a worker may take, more disk than is free.
3. Of what is left the one with the least cost: milliseconds that this device has measured of the variant; else those that its
   maker promises, times what this device has measured against the promises for others. What has no cost comes behind.
4. Of equal cost first what has a preferred accelerator here, then the smaller.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from fleet_contract.requirements import FIRST_RUNTIME, misfit_of_version, version_numbers
from fleet_contract.trust import VariantFacts

SOLE = "the only build"
"""How a release's single target is called where it has no variant's name."""
UNNUMBERED = "ai-edge-litert"
"""Followed TensorFlow Lite under numbers of its own; reads every file that the last of those did."""


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon knows of the device for one model; travels to the trust child in its job."""

    python: dict[str, str] = msgspec.field(default_factory=dict)
    """Runtime to the interpreter of its workers, where it is not the daemon's own."""
    accelerators: tuple[str, ...] = ()
    """Execution providers and delegates that the configuration asks for."""
    memory_bytes: int = 0
    """That one worker may take; 0 is no limit."""
    variant: str | None = None
    """The only one that the configuration allows."""
    costs: dict[str, float] = msgspec.field(default_factory=dict)
    """Variant to milliseconds for one inference, measured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What can run here."""

    runtimes: dict[str, str]
    """Runtime, as a manifest names it, to the distribution and version that is installed: `onnxruntime 1.22.0`."""
    accelerators: frozenset[str]
    disk_bytes: int
    configured: Configured = field(default_factory=Configured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One signed variant."""

    variant: str | None
    length: int
    facts: VariantFacts | None
    on_disk: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return self.variant or SOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was picked and why, and of every other why not."""

    picked: Offer | None
    why: str = ""
    rejected: dict[str, str] = field(default_factory=dict)


def pick(offers: Sequence[Offer], device: Device) -> Choice:
    """Choose among the variants of one release; `picked` is None where the device can run none."""
    kept = next((offer for offer in offers if offer.on_disk), None)
    if kept is not None:
        others = {offer.name: "another is on the disk" for offer in offers if offer is not kept}
        return Choice(picked=kept, why="it is on the disk", rejected=others)
    rejected: dict[str, str] = {}
    fitting: list[Offer] = []
    for offer in offers:
        why_not = _unfit(offer, device)
        if why_not is None:
            fitting.append(offer)
        else:
            rejected[offer.name] = why_not
    if not fitting:
        return Choice(picked=None, rejected=rejected)
    costs = {offer.name: _cost(offer, fitting, device) for offer in fitting}
    best = min(fitting, key=lambda offer: _rank(offer, costs[offer.name], device))
    for offer in fitting:
        if offer is not best:
            rejected[offer.name] = f"{best.name} costs less: {_tell_cost(offer, costs)} against {_tell_cost(best, costs)}"
    why = "it is all that can run here" if len(fitting) == 1 else f"it costs least: {_tell_cost(best, costs)}"
    return Choice(picked=best, why=why, rejected=rejected)


def _unfit(offer: Offer, device: Device) -> str | None:
    """Why the device cannot take a variant, or None."""
    configured, facts = device.configured, offer.facts
    if configured.variant is not None and offer.variant is not None and offer.variant != configured.variant:
        return f"the configuration asks for {configured.variant}"
    if facts is None:
        return None
    installed = device.runtimes.get(facts.runtime)
    if installed is None:
        return f"no runtime for {facts.runtime} is installed"
    return _unfit_runtime(facts, installed) or _unfit_board(offer, facts, device)


def _unfit_runtime(facts: VariantFacts, installed: str) -> str | None:
    package, _, version = installed.rpartition(" ")
    if package == UNNUMBERED or not version_numbers(version):
        return None
    misfit = misfit_of_version(version, facts.runtime_min, facts.runtime_max)
    if misfit is not None:
        return f"{package}: {misfit}"
    first = FIRST_RUNTIME.get(facts.opset or 0)
    if first is not None and misfit_of_version(version, first, None) is not None:
        return f"opset {facts.opset} needs {package} {first}, installed is {version}"
    return None


def _unfit_board(offer: Offer, facts: VariantFacts, device: Device) -> str | None:
    if facts.accelerators and not device.accelerators.intersection(facts.accelerators):
        return f"needs {' or '.join(facts.accelerators)}, which is not here"
    most = device.configured.memory_bytes
    if 0 < most < facts.memory_bytes:
        return f"needs {_mb(facts.memory_bytes)} of memory, a worker may take {_mb(most)}"
    # As a part file and in its place; what the runtime compiles comes on top.
    needed = 2 * offer.length + max(0, facts.disk_bytes - offer.length)
    if needed > device.disk_bytes:
        return f"needs {_mb(needed)} of disk, {_mb(device.disk_bytes)} are free"
    return None


def _cost(offer: Offer, fitting: Sequence[Offer], device: Device) -> float | None:
    """Milliseconds on this device: measured, or promised times how this device does against the promises."""
    measured = device.configured.costs
    if offer.name in measured:
        return measured[offer.name]
    promised = _promised(offer)
    if promised is None:
        return None
    ratios = [
        measured[other.name] / told for other in fitting if other.name in measured and (told := _promised(other)) is not None
    ]
    return promised * (statistics.median(ratios) if ratios else 1.0)


def _promised(offer: Offer) -> float | None:
    return None if offer.facts is None or offer.facts.latency_us is None else offer.facts.latency_us / 1000


def _rank(offer: Offer, cost: float | None, device: Device) -> tuple[bool, float, bool, int, str]:
    preferred = offer.facts is not None and bool(device.accelerators.intersection(offer.facts.accelerators_preferred))
    return cost is None, cost or 0.0, not preferred, offer.length, offer.name


def _tell_cost(offer: Offer, costs: dict[str, float | None]) -> str:
    cost = costs[offer.name]
    return f"{_mb(offer.length)}" if cost is None else f"{cost:.3g} ms, {_mb(offer.length)}"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
