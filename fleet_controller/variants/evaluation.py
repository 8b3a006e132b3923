"""Has the agent's own code try a bundle, in a process of its own: the controller may not import the agent, and should not
compute features a second time."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from fleet_contract.evaluation import Evaluation
from fleet_contract.reasons import Reason

MODULE: Final = "edge_agent.inference.evaluate"
LONGEST_SECONDS: Final = 3600.0
LONGEST_LOAD_SECONDS: Final = 120.0


class EvaluationError(Exception):
    """The bundle could not be tried at all: its data set cannot be read, or the agent's code is not here."""


def evaluate(
    bundle: Path, *, data: Path | None = None, inputs: Path | None = None, seconds: float = 1.0, load_only: bool = False
) -> Evaluation:
    """Try a bundle: golden samples, times over `seconds`, memory, and scores for the samples of `data`.

    Into the folder `inputs` go the model's own inputs for each sample, as `{position}.npz`. A process that is ended by the
    model, or does not end, is an evaluation that failed. With `load_only` it is loaded and asked nothing.
    Raises EvaluationError.
    """
    command = [sys.executable, "-m", MODULE, str(bundle.resolve()), "--seconds", str(seconds)]
    command += ["--data", str(data.resolve())] if data is not None else []
    command += ["--inputs", str(inputs.resolve())] if inputs is not None else []
    command += ["--load-only"] if load_only else []
    longest = LONGEST_LOAD_SECONDS if load_only else LONGEST_SECONDS
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=longest, check=False
        )
    except subprocess.TimeoutExpired:
        return Evaluation(failed=(Reason.TEST_TIMEOUT.value, f"no answer within {longest:g} s"))
    except OSError as error:
        raise EvaluationError(f"{sys.executable}: {error.strerror}") from error
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return Evaluation(failed=(Reason.WORKER_CRASHED.value, f"the process that ran it was ended by {name}"))
    if done.returncode > 0:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise EvaluationError(told[-1] if told else f"{MODULE} ended with status {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Evaluation)
