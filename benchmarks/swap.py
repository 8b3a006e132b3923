"""A model is swapped for another release under 1,000 events a second: what is missed, repeated, and how late results are.

A real agent at a real broker. Both releases are on the device, so the swap is all that an update does after the download: a
fresh worker is started, loads the model, answers its golden samples, is switched to, and the old one ends. The two have the
same weights, so that what differs is the swap alone.
"""

import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from benchmarks import bench_world as world
from benchmarks.figures import Figure, quick, write
from benchmarks.latency import Latencies
from benchmarks.loss import Account, account
from fleet_contract.messages import Desired, DesiredModel, Result, encode
from fleet_contract.topics import Down, down

RATE: Final = 1000.0
"""Events per second."""
SECONDS: Final = 30.0
WARM: Final = 3.0
"""Seconds at the start that do not count."""
HALF: Final = 0.5
"""Seconds before and after the first answer of the new release: the second around the swap."""
ROUNDS: Final = 3
SLACK: Final = 2.0
"""Seconds around the update that are not the steady state."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One result that arrived; times in seconds since 1970."""

    number: int
    sent: float
    arrived: float
    release: int


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed; latencies in ms."""

    steady_p99: float
    trial_p99: float
    """From the new desired state to the switch: a second worker starts and loads meanwhile."""
    swap_p99: float
    swap_worst: float
    seconds: float
    """From the new desired state to the first answer of the new release."""
    account: Account


def judge(results: Sequence[Scored], sent: int, desired: float) -> Round:
    """The figures of a round. Raises ValueError if the new release has not answered."""
    start = min(item.sent for item in results)
    switched = min((item.arrived for item in results if item.release == 2), default=None)
    if switched is None:
        raise ValueError("the second release has not answered")
    steady, trial, swap = Latencies(), Latencies(), Latencies()
    for item in results:
        late = item.arrived - item.sent
        if switched - HALF <= item.sent < switched + HALF:
            swap.add(late)
        if desired <= item.sent < switched:
            trial.add(late)
        elif item.sent >= start + WARM and not desired - SLACK <= item.sent < switched + SLACK:
            steady.add(late)
    return Round(
        steady_p99=steady.quantile(0.99) * 1000,
        trial_p99=trial.quantile(0.99) * 1000,
        swap_p99=swap.quantile(0.99) * 1000,
        swap_worst=swap.quantile(1.0) * 1000,
        seconds=switched - desired,
        account=account(sent, (item.number for item in results)),
    )


def read(lines: Sequence[bytes]) -> list[Scored]:
    """The results of the lines that `Arrivals` wrote."""
    found = []
    for line in lines:
        at, payload = line.split(b" ", 1)
        result = msgspec.json.decode(payload, type=Result)
        if result.model is None:
            raise ValueError("a result without a model")
        number, sent = result.events.ids[0].split("-", 1)
        found.append(Scored(int(number), float(sent), float(at), result.model.release))
    return found


def write_root(path: Path) -> None:
    """The trusted root of a repository that is never reached: both releases are on the device."""
    key = CryptoSigner.generate_ed25519()
    root = Root(expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=30), consistent_snapshot=True)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(key.public_key, role)
    metadata = Metadata(root)
    metadata.sign(key)
    path.write_bytes(metadata.to_bytes())


def measure(folder: Path, model: Path, seconds: float) -> Round:
    """One round: events for a while, and in the middle another release is desired."""
    folder.mkdir()
    with world.broker(folder) as port:
        world.prepare_session(port)
        world.install_model(folder / "state", model, kept=True)
        config = world.write_config(folder, port, model=True, values="abcd")
        write_root(folder / "root.json")
        (folder / "token").write_text("nobody asks for it")
        with config.open("a") as file:
            file.write('[updates]\nurl = "http://127.0.0.1:9"\n')  # nothing listens there
            file.write(f'token_file = "{folder}/token"\nroot_file = "{folder}/root.json"\n')
        arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench")
        subject = world.Subject(world.Command(world.agent_command(config)), folder / "log")
        try:
            world.queue_events(port, 1)  # its result says that the first release answers
            world.wait_for(lambda: arrivals.count() >= 1, 30)
            arrivals.close()
            arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench")
            told: list[float] = []
            trigger = threading.Timer(seconds / 2, lambda: told.append(desire(port)))
            trigger.start()
            sent = world.publish_paced(port, RATE, seconds, 0)
            trigger.join()
            world.wait_for(lambda: arrivals.count() >= sent, 60)
            return judge(read(arrivals.lines()), sent, told[0])
        finally:
            subject.stop()
            arrivals.close()


def desire(port: int) -> float:
    """Have the device run release 2; returns when that was said, in seconds since 1970."""
    payload = encode(Desired(revision=2, models=(DesiredModel(model=world.MODEL, release=2),)))
    command = ["mosquitto_pub", "-p", str(port), "-t", down("dut", Down.DESIRED), "-q", "1", "-r", "-V", "5", "-s"]
    said = datetime.now(UTC).timestamp()
    subprocess.run(command, input=payload, check=True, timeout=30)
    return said


def main() -> None:
    """Measure and write the figures."""
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "bench.onnx"
        world.make_model(model)
        for number in range(1 if quick() else ROUNDS):
            print(f"swap: round {number + 1}", flush=True)
            rounds.append(measure(folder / str(number), model, 15.0 if quick() else SECONDS))
    steady = [item.steady_p99 for item in rounds]
    none = [0.0] * len(rounds)
    write(
        "swap",
        [
            Figure("missed", "events", [float(item.account.lost) for item in rounds], none, "none"),
            Figure("repeated", "results", [float(item.account.repeated) for item in rounds], none, "none"),
            Figure("p99_in_the_second_around_the_swap", "ms", [item.swap_p99 for item in rounds], steady, "steady_state"),
            Figure("worst_in_the_second_around_the_swap", "ms", [item.swap_worst for item in rounds], steady, "steady_p99"),
            Figure("p99_while_the_release_is_tried", "ms", [item.trial_p99 for item in rounds], steady, "steady_state"),
            Figure("desired_to_first_answer", "s", [item.seconds for item in rounds], none, "none"),
        ],
    )


if __name__ == "__main__":
    main()
