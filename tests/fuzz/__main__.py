"""`python -m tests.fuzz --format sparkplug --seconds 60`: fuzz payload formats, all of them in turn by default.

With atheris (coverage-guided) where it is installed, otherwise with the plain mutator. An input that raises, hangs or takes
too much is written to `build/fuzz/`, and the exit status is 1. `--replay FILE` tries such a file again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge_agent.ingest.formats import FORMATS, find_format

HANGS_AFTER: Final = 30
"""Seconds of one input, for a decoder that does not come back at all."""
STARTING: Final = 120
"""Seconds for a process beyond those that it fuzzes, on a machine with much else to do."""
MAX_BYTES: Final = 20_000


def main() -> int:
    """Fuzz what was asked for; each format in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="fuzz payload formats")
    parser.add_argument("--format", action="append", choices=list(FORMATS), help="default: all in turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--engine", choices=("atheris", "plain"), default="atheris" if find_spec("atheris") else "plain")
    parser.add_argument("--replay", type=Path, help="try one written input again")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names: list[str] = arguments.format or list(FORMATS)
    if arguments.replay is not None:
        from tests.fuzz.target import Target

        Target(names[0])(arguments.replay.read_bytes())
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.inside is not None:
        prefix = f"{arguments.out}/{names[0]}-"
        return fuzz(names[0], arguments.engine, arguments.seconds, arguments.seed, prefix, arguments.inside)
    failed = [name for name in names if not run_apart(name, arguments)]
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}; inputs are in {arguments.out}\n")
    return 1 if failed else 0


def run_apart(name: str, arguments: argparse.Namespace) -> bool:
    """Fuzz one format in a process of its own, which libFuzzer ends without leaving; whether nothing was found."""
    options = ["--seconds", str(arguments.seconds), "--seed", str(arguments.seed), "--engine", arguments.engine]
    options += ["--format", name, "--out", str(arguments.out)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz", "--inside", folder, *options]
        try:
            return subprocess.run(command, check=False, timeout=arguments.seconds + STARTING).returncode == 0
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"{name}: hangs\n")
            return False


def fuzz(name: str, engine: str, seconds: float, seed: int, prefix: str, folder: Path) -> int:
    """Fuzz one format in this process."""
    if engine == "plain":
        from tests.fuzz import plain
        from tests.fuzz.target import Target, limit_memory

        target = Target(name)
        limit_memory()
        status = plain.run(target, target.frames.corpus(), seconds, seed, prefix)
        target.report()
        return status
    import atheris

    with atheris.instrument_imports(include=["edge_agent.ingest"]):
        find_format(name)
        from tests.fuzz.target import Target, limit_memory
    target = Target(name)
    for number, data in enumerate(target.frames.corpus()):
        (folder / str(number)).write_bytes(data)
    limit_memory()
    end = time.monotonic() + seconds

    def one_input(data: bytes) -> None:
        if time.monotonic() > end:
            target.report()
            os._exit(0)  # as libFuzzer itself ends, but with what is to be told
        target(data)

    limits = [f"-timeout={HANGS_AFTER}", f"-max_len={MAX_BYTES}", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], str(folder), *limits, "-verbosity=0", f"-seed={seed}", f"-artifact_prefix={prefix}"], one_input)
    atheris.Fuzz()
    return 1


if __name__ == "__main__":
    sys.exit(main())
