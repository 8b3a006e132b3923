"""`edge-agent bench`: how quick a model is on this device, run in one way."""

import dataclasses
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from edge_agent.commands.text_table import text_table
from edge_agent.inference.run_plan import resolve
from edge_agent.inference.tuned import TunedError, read_tuned, with_tuned
from edge_agent.measuring_runs import HEAD, Runs, about_energy, to_json, to_row
from edge_agent.model_argument import find_model
from edge_agent.replay_models import BundleMissing
from edge_agent.settings import AgentSettings


def run_bench(options: Namespace, load: Callable[[], AgentSettings]) -> int:
    """Measure as the device would run it, or as the options say; returns the exit status: 0, or 1 when it cannot be run."""
    try:
        found = find_model(options.model, Path(options.config), load)
        inference = found.inference if found.state_dir is None else with_tuned(found.inference, read_tuned(found.state_dir))
        plan = resolve(inference, found.bundle.manifest.name, found.bundle.manifest.runtime.value)
        given = {"threads": options.threads, "spin": options.spin or None, "max_batch": options.batch}
        plan = dataclasses.replace(plan, **{key: value for key, value in given.items() if value is not None})
        with Runs(found, options.seconds, quiet=options.output == "json") as runs:
            measured = runs.try_plan(found.bundle, plan, options.seconds)
    except (BundleMissing, TunedError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or options.model}: {error.strerror}")
    if options.output == "json":
        print(json.dumps(to_json(found.bundle, measured), indent=2))
        return 0
    manifest = found.bundle.manifest
    print(f"{manifest.name} {manifest.version} on {measured.provider}, loaded in {measured.load_seconds:.2f} s")
    print(text_table(HEAD, [to_row(found.bundle, measured)]))
    print(about_energy(runs.meter))
    if measured.errors:
        print(f"{measured.errors} of {measured.inferences} inputs got no scores")
    return 0


def _fail(text: str) -> int:
    sys.stderr.write(f"edge-agent bench: {text}\n")
    return 1
