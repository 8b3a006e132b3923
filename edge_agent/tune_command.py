"""`edge-agent tune`: tries ways to run a model on this device for a bounded time, and stores the best."""

import dataclasses
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_agent.commands.text_table import text_table
from edge_agent.inference import tuning
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.measuring import Measured
from edge_agent.inference.run_plan import resolve
from edge_agent.inference.tuned import Tuned, TunedError, read_tuned, write_tuned
from edge_agent.measuring_runs import HEAD, Runs, about_energy, to_json, to_row
from edge_agent.model_argument import ModelArgument, find_model
from edge_agent.replay_models import BundleMissing, open_bundle
from edge_agent.settings import AgentSettings, ModelSettings

Run = tuple[Bundle, Measured]
ROUNDS: Final = 2
"""Each way to run at a batch of one is tried so often, in turn, and its better run counts: the device may be busy meanwhile."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tuning:
    """What was tried, and what is best."""

    runs: tuple[Run, ...]
    bundle: Bundle
    """The quickest variant."""
    single: Measured
    """Its run at a batch of one that chose the threads."""
    best: Measured
    """Its run that chose the batch."""


def run_tune(options: Namespace, load: Callable[[], AgentSettings]) -> int:
    """Try, print, store; returns the exit status: 0, 1 (a variant cannot be run), 2 (a variant is of another model)."""
    try:
        found = find_model(options.model, Path(options.config), load)
        name = found.bundle.manifest.name
        variants = [found.bundle, *(open_bundle(Path(item)) for item in options.variant)]
        for variant in variants:
            if variant.manifest.name != name:
                return _fail(2, f"{variant.path} is a bundle of model {variant.manifest.name!r}, not {name!r}")
        with Runs(found, options.seconds, quiet=options.output == "json") as runs:
            tuning_done = _tune(found, variants, options.seconds, runs)
        store = found.state_dir is not None and not options.dry_run
        if store and found.state_dir is not None:
            write_tuned(found.state_dir, _stored(found.state_dir) | {name: to_store(tuning_done)})
    except BundleMissing as error:
        return _fail(1, str(error))
    except OSError as error:
        return _fail(1, f"{error.filename or options.model}: {error.strerror}")
    best, chosen = tuning_done.best, tuning_done.bundle
    if options.output == "json":
        choice = {"threads": best.threads, "spin": best.spin, "max_batch": best.batch}
        picked = choice | {"version": chosen.manifest.version, "digest": chosen.digest}
        listed = [to_json(variant, measured) for variant, measured in tuning_done.runs]
        print(json.dumps({"model": name, "runs": listed, "choice": picked, "stored": store}, indent=2))
        return 0
    print(text_table(HEAD, [to_row(variant, measured) for variant, measured in tuning_done.runs]))
    print(about_energy(runs.meter))
    print(f"\nchoice: threads {best.threads}, spin {str(best.spin).lower()}, max_batch {best.batch}")
    if len(variants) > 1:
        print(f"quickest variant: {chosen.manifest.version} ({chosen.path})")
    own = found.inference.models.get(name, ModelSettings())
    for key in ("threads", "spin", "max_batch"):
        if getattr(own, key) is not None:
            print(f"inference.models.{name}.{key} is in the configuration, and wins")
    if store:
        print("stored; in force from the agent's next start")
    elif found.state_dir is None:
        print("not stored: there is no configuration that names the state folder")
    return 0


def _tune(found: ModelArgument, variants: Sequence[Bundle], seconds: float, runs: Runs) -> Tuning:
    """`seconds` are shared by all runs alike. Raises BundleMissing."""
    manifest = found.bundle.manifest
    plan = resolve(found.inference, manifest.name, manifest.runtime.value)
    threads = tuning.thread_trials(len(os.sched_getaffinity(0)))
    batches = tuning.batch_trials(found.inference.models.get(manifest.name, ModelSettings()).max_batch)
    each = seconds / (len(variants) * len(threads) * ROUNDS + len(batches))
    tried: list[Run] = []

    def attempt(bundle: Bundle, count: int, spin: bool, batch: int) -> Measured:
        measured = runs.try_plan(bundle, dataclasses.replace(plan, threads=count, spin=spin, max_batch=batch), each)
        tried.append((bundle, measured))
        return measured

    def single(bundle: Bundle) -> Measured:
        rounds = [[attempt(bundle, count, spin, 1) for count, spin in threads] for _ in range(ROUNDS)]
        return tuning.choose_threads([min(same, key=lambda run: run.latency_p95) for same in zip(*rounds, strict=True)])

    singles = [single(item) for item in variants]
    position = tuning.choose_variant(singles)
    bundle, chosen = variants[position], singles[position]
    batched = [attempt(bundle, chosen.threads, chosen.spin, size) for size in batches]
    return Tuning(tuple(tried), bundle, chosen, tuning.choose_batch([chosen, *batched]))


def _stored(state_dir: Path) -> dict[str, Tuned]:
    """What other models' choices are; a damaged file is written anew."""
    try:
        return read_tuned(state_dir)
    except TunedError as error:
        sys.stderr.write(f"edge-agent tune: {error}\n")
        return {}


def to_store(done: Tuning) -> Tuned:
    """The choice as it is kept."""
    return Tuned(
        threads=done.best.threads,
        spin=done.best.spin,
        max_batch=done.best.batch,
        version=done.bundle.manifest.version,
        digest=done.bundle.digest,
        latency_p95_ms=round(done.single.latency_p95 * 1000, 4),
        per_second=round(done.best.per_second, 1),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _fail(status: int, text: str) -> int:
    sys.stderr.write(f"edge-agent tune: {text}\n")
    return status
