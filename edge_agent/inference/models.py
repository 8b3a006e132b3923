"""All models of the device: name to host, trials of candidates, and the switch from one bundle to the next."""

import logging
import os
from collections.abc import Callable
from typing import Final

import psutil

from edge_agent.drift.counting import Counting
from edge_agent.health.probes import memory_of
from edge_agent.inference import protocol
from edge_agent.inference.answers import Answer, Done, Failure, ModelInput
from edge_agent.inference.budget import MemoryBudget
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.candidate import Candidate
from edge_agent.inference.governor_policy import Mode
from edge_agent.inference.host import Degraded, ModelHost
from edge_agent.inference.input_queue import Lane
from edge_agent.inference.model_stats import ModelStats
from edge_agent.inference.run_plan import resolve
from edge_agent.inference.shadow import Shadow
from edge_agent.inference.turns import Turns
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.messages import ModelRef
from fleet_contract.update_report import Evidence, Figures

log = logging.getLogger(__name__)

WORKER_BYTES: Final = 48 * 1024**2
"""Of a worker with its runtime and a model of no size."""
Outcome = Callable[[ModelRef | Failure], object]


class Models:
    """The door of this room. Everything is called, and calls back, on the loop thread."""

    def __init__(self, loop: Loop, settings: InferenceSettings) -> None:
        self.on_degraded: Degraded = lambda reference, why: None
        """Called once for each reason for which a model runs on the CPU that should not."""
        self._loop, self._settings = loop, settings
        self._hosts: dict[str, ModelHost] = {}
        self._trials: dict[str, Candidate] = {}
        self._shadows: dict[str, Shadow] = {}
        self._making_room: dict[str, str] = {}
        """Model to why its incumbent had to go before the candidate came."""
        self._displacing: dict[str, object] = {}
        """Model to the trial that waits for the place; one that was cancelled meanwhile does not begin."""
        self.on_gap: Callable[[str, int, str], object] = lambda _name, _release, _detail: None
        """Told of a swap that left a gap: the model, the release that was tried, and how long nobody answered."""
        self.on_quarantined: Callable[[str, int, str], object] = lambda _name, _release, _detail: None
        """Told of a release that has ended its workers too often: its name, its number, and why."""
        self._turns = Turns(settings.max_threads or len(os.sched_getaffinity(0)))

    def submit(self, name: str, item: ModelInput, done: Done, lane: Lane | None = None, sensor: str = "") -> None:
        """Ask a model; `done(Answer | Failure)` comes later, in order for each model. Waits if the model is not there yet.

        A `lane` bounds what waits of one pipeline: see `ModelHost.submit`.
        """
        shadow = self._shadows.get(name) if self._shadows else None
        if shadow is not None:
            done = _shadowed(shadow, item, done)
        self._host(name).submit(item, done, lane, sensor)

    def test(self, bundle: Bundle, release: int, timeout: float, on_done: Outcome, *, promises: bool = True) -> None:
        """Try a bundle's golden samples in a fresh worker, which is kept warm for `activate` if they pass.

        `promises`: and what its manifest promises about memory and latency.

        A trial of the same model that is under way is cancelled without a call.
        """
        name = bundle.manifest.name
        self.cancel_test(name)

        def done(outcome: protocol.Ready | Failure) -> None:
            if isinstance(outcome, Failure):
                self._trials.pop(name, None)
                self._give_place_back(name, release)
                on_done(outcome)
            else:
                on_done(_reference(bundle, release, outcome))

        def begin() -> None:
            plan = resolve(self._settings, name, bundle.manifest.runtime.value)
            self._trials[name] = Candidate(self._loop, bundle, plan, timeout, done, promises=promises)

        shortage = self._find_shortage(name, bundle)
        if shortage is None:
            begin()
            return
        log.warning("the incumbent is unloaded to make room for a release", extra={"model": name, "detail": shortage})
        self._making_room[name] = shortage
        token = self._displacing[name] = object()
        self._hosts[name].displace(lambda: begin() if self._displacing.get(name) is token else None)

    def _find_shortage(self, name: str, bundle: Bundle) -> str | None:
        """Why the incumbent and this bundle do not fit in memory together; None if they do, or nothing has to go."""
        host = self._hosts.get(name)
        if host is None or host.bundle is None or host.stats().mode is Mode.UNLOAD:
            return None
        pids = [item.pid for item in self.stats() if item.pid is not None]
        sizes = {pid: memory_of(pid) or 0 for pid in pids}
        pid = host.stats().pid
        incumbent = _estimate(host.bundle) if pid is None else sizes[pid]
        need = _needs_beside(bundle, incumbent)
        # An incumbent whose worker has ended takes its memory again when it is started anew.
        returning = incumbent if pid is None else 0
        used, available = sum(sizes.values()) + returning, psutil.virtual_memory().available - returning
        budget = MemoryBudget(self._settings.memory_budget, self._settings.memory_floor)
        if budget.has_room(used, available, need):
            return None
        mib = 1024**2
        return f"{need // mib} MiB are needed, workers take {used // mib}, {available // mib} are available"

    def _give_place_back(self, name: str, release: int) -> None:
        self._displacing.pop(name, None)
        if name in self._hosts:
            self._tell_gap(name, release, self._hosts[name].give_place_back())

    def _tell_gap(self, name: str, release: int, seconds: float | None) -> None:
        if seconds is not None:
            shortage = self._making_room.pop(name, "")
            self.on_gap(name, release, f"the incumbent was unloaded to make room ({shortage}); no answer for {seconds:.1f} s")

    def shadow(self, name: str, on_lost: Callable[[Failure], object]) -> bool:
        """Let the candidate that has passed see live inputs from now on; False if it is gone, or nobody answers beside it.

        `on_lost` is called when its worker ends. `cancel_test` and `activate` end it.
        """
        trial, host = self._trials.get(name), self._hosts.get(name)
        if trial is None or trial.passed is None or host is None or host.reference is None or host.displaced:
            return False
        plan = resolve(self._settings, name, trial.bundle.manifest.runtime.value)
        self._shadows[name] = Shadow(self._loop, self._turns, trial, plan, on_lost, host.bundle)
        return True

    def shadow_evidence(self, name: str) -> Evidence | None:
        """What the candidate did beside the incumbent so far; None where nothing shadows."""
        shadow = self._shadows.get(name)
        return None if shadow is None else shadow.evidence(self.figures(name))

    def figures(self, name: str) -> Figures | None:
        """How the release that answers does; None where there is none."""
        return self._hosts[name].figures() if name in self._hosts else None

    def counting(self, name: str) -> tuple[int, Counting] | None:
        """The release that answers and what was counted of its inputs and answers; None where there is none."""
        host = self._hosts.get(name)
        return None if host is None or host.drift is None else (host.stats().release, host.drift)

    def cancel_test(self, name: str) -> None:
        """End a trial, or drop a candidate that has passed."""
        shadow = self._shadows.pop(name, None)
        if shadow is not None:
            shadow.stop()
        trial = self._trials.pop(name, None)
        if trial is not None:
            trial.cancel()
        if name in self._hosts and self._hosts[name].displaced:
            self._give_place_back(name, self._hosts[name].stats().release)

    def activate(self, bundle: Bundle, release: int, timeout: float, on_done: Outcome) -> None:
        """Switch a model to a bundle without a gap; the incumbent answers until then, and stays if this fails.

        The worker that passed `test` with this bundle is used if it still lives; otherwise a fresh one is tried first.
        """
        name = bundle.manifest.name
        shadow = self._shadows.get(name)
        if shadow is not None:

            def free() -> None:
                # Another one, or none: the candidate was dropped meanwhile.
                if self._shadows.get(name) is shadow:
                    del self._shadows[name]
                    self.activate(bundle, release, timeout, on_done)

            shadow.stop(free)
            return
        trial = self._trials.get(name)
        if trial is not None and trial.passed is not None and trial.bundle.digest == bundle.digest:
            reference = _reference(bundle, release, trial.passed)
            self._switch(name, trial, bundle, release, trial.passed)
            self._loop.post(on_done, reference)
            return

        def tested(outcome: ModelRef | Failure) -> None:
            warm = self._trials.get(name)
            if isinstance(outcome, ModelRef) and warm is not None and warm.passed is not None:
                self._switch(name, warm, bundle, release, warm.passed)
            on_done(outcome)

        self.test(bundle, release, timeout, tested, promises=False)

    def resume(self, bundle: Bundle, release: int) -> None:
        """At the agent's start: load what was active before, without golden samples, and keep trying with back-off."""
        self._host(bundle.manifest.name).resume(bundle, release)

    def remove(self, name: str) -> None:
        """Unload a model; its inputs wait for another bundle."""
        self.cancel_test(name)
        self.suspend(name)

    def suspend(self, name: str) -> None:
        """Unload a model as `remove` does, but let a trial of another bundle go on."""
        if name in self._hosts:
            self._hosts[name].remove()

    def restart(self, name: str) -> bool:
        """End a model's worker and start a fresh one, losing nothing; False when no such model is installed."""
        return name in self._hosts and self._hosts[name].restart()

    def restrict(self, name: str, mode: Mode, detail: str | None) -> None:
        """Slow, pause or unload a model, or let it run; nothing that waits for it is lost."""
        self._host(name).restrict(mode, detail)

    def reference(self, name: str) -> ModelRef | None:
        """What answers now under this name; None while nothing is loaded."""
        return self._hosts[name].reference if name in self._hosts else None

    def bundle(self, name: str) -> Bundle | None:
        """The bundle that is installed under this name, loaded or about to be."""
        return self._hosts[name].bundle if name in self._hosts else None

    @property
    def turns_waited(self) -> int:
        """Batches that could not start at once because all CPU threads were taken."""
        return self._turns.waited

    def stats(self) -> list[ModelStats]:
        """One entry for each model that was ever asked or installed."""
        return [host.stats() for host in self._hosts.values()]

    def stop(self) -> None:
        """End every worker. Inputs that still wait are not answered: the journal has them."""
        for name in list(self._trials):
            self.cancel_test(name)
        for host in self._hosts.values():
            host.stop()

    def _host(self, name: str) -> ModelHost:
        if name not in self._hosts:
            self._hosts[name] = ModelHost(
                self._loop,
                name,
                self._settings,
                self._turns,
                on_degraded=lambda *told: self.on_degraded(*told),
                on_quarantined=lambda *told: self.on_quarantined(*told),
            )
        return self._hosts[name]

    def _switch(self, name: str, candidate: Candidate, bundle: Bundle, release: int, ready: protocol.Ready) -> None:
        del self._trials[name]
        self._displacing.pop(name, None)
        self._tell_gap(name, release, self._host(name).switch(bundle, release, ready, candidate))


def _estimate(bundle: Bundle) -> int:
    """The memory of a worker that does not run, in bytes."""
    return bundle.manifest.requirements.memory_bytes or WORKER_BYTES + 2 * bundle.entry.size


def _needs_beside(bundle: Bundle, incumbent: int) -> int:
    """The memory that a new worker takes at most while one of `incumbent` bytes is there. What no manifest says is as much."""
    requires = bundle.manifest.requirements
    if requires.memory_swap_bytes:
        return max(requires.memory_swap_bytes - incumbent, requires.memory_bytes)
    return requires.memory_peak_bytes or requires.memory_bytes or incumbent


def _reference(bundle: Bundle, release: int, ready: protocol.Ready) -> ModelRef:
    manifest = bundle.manifest
    digest = f"sha256:{ready.digest}"
    return ModelRef(name=manifest.name, version=manifest.version, release=release, digest=digest, provider=ready.provider)


def _shadowed(shadow: Shadow, item: ModelInput, done: Done) -> Done:
    def answered(answer: Answer | Failure) -> None:
        done(answer)
        shadow.offer(item, answer)

    return answered
