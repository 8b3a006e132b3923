"""`python -m tests.fuzz_models --runtime onnx --mutations 2000`: mutated model files in real workers, each runtime in turn.

A third of the mutations set bytes to something else, a third move blocks of them, a third change fields of the format. Each has
to end as a clean refusal, with good or wrong answers, at its deadline, or as the death of its worker. What ends otherwise is
written to `build/fuzz-models/`, and the exit status is 1. A seed makes the same files again: `--first 1234 --mutations 1`.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz_models.trials import Trials
from tests.hostile_models.runtimes import RUNTIMES, Runtime


def main() -> int:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_models", description="fuzz model files")
    names = [runtime.name for runtime in RUNTIMES]
    parser.add_argument("--runtime", action="append", choices=names, help="default: all in turn")
    parser.add_argument("--mutations", type=int, default=2000, help="for each runtime")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--minutes", type=float, default=30.0, help="for each runtime, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="workers at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz-models"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "workers.log").open("ab") as log:
        os.dup2(log.fileno(), 2)  # what the runtimes complain about, and a traceback of a worker of ours
    chosen = [runtime for runtime in RUNTIMES if runtime.name in (arguments.runtime or names)]
    finds = sum(fuzz(runtime, arguments) for runtime in chosen)
    say(f"finds: {finds}" + (f"; they are in {arguments.out}" if finds else ""))
    return 1 if finds else 0


def fuzz(runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Fuzz one runtime; returns how much was found."""
    say(f"{runtime.name}: {arguments.mutations} mutations, seed {arguments.seed}")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials = Trials(
            runtime.format,
            runtime.python(folder),
            arguments.seed,
            folder / "models",
            arguments.out,
            f"{runtime.name}-{arguments.seed}-",
            lambda line: say(f"{runtime.name}: {line}"),
        )
        tally = trials.run(arguments.first, arguments.mutations, arguments.jobs, arguments.minutes * 60)
        trials.close()
    for line in tally.lines():
        say(line)
    say(f"{runtime.name}: {tally.trials} in {time.monotonic() - start:.0f} s")
    return len(tally.finds)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
