"""The programs that do the same job: an event from the broker at QoS 1, the same ONNX model, the result at QoS 1."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import bench_world as world
from benchmarks.node_red import instance


@dataclass(frozen=True, slots=True)
class Program:
    """One of them."""

    name: str
    """As the figures name it."""
    results: str
    """The topic of its results."""
    lay_out: Callable[[Path, int, Path], world.Command]
    """(folder, broker's port, model file) to what starts it; the folder keeps its state over restarts."""


def _agent(folder: Path, port: int, model: Path) -> world.Command:
    world.install_model(folder / "state", model)
    return world.Command(world.agent_command(world.write_config(folder, port, model=True, values="abcd")))


def _node_red(folder: Path, port: int, model: Path) -> world.Command:
    environment = {"BENCH_PORT": str(port), "BENCH_UI_PORT": str(world.free_port()), "BENCH_MODEL": str(model.resolve())}
    return world.Command(instance.lay_out(folder), environment)


def _plain_script(_folder: Path, port: int, model: Path) -> world.Command:
    return world.Command([sys.executable, "-m", "benchmarks.plain_script", "scored", str(port), str(model)])


AGENT: Final = Program("edge-agent", "sh/v1/dut/up/result/bench", _agent)
NODE_RED: Final = Program("node-red", "bench/out", _node_red)
PLAIN_SCRIPT: Final = Program("plain_script", "bench/out", _plain_script)
