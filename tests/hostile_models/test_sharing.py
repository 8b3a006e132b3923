"""A model that never ends holds the CPU threads of a board to itself for a moment only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.inference.answers import Answer, ModelInput
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from tests.hostile_models import onnx_files
from tests.hostile_models.onnx_files import LIMIT
from tests.hostile_models.releases import Release, write_bundle

DEADLINE = 60.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    assert made.errors == 0
    made.close()


@pytest.fixture
def models(loop: Loop) -> Iterator[Models]:
    made = Models(loop, InferenceSettings(max_threads=1, deadline=DEADLINE))
    yield made
    pids = [stats.pid for stats in made.stats()]
    made.stop()
    assert loop.run_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)


@pytest.mark.parametrize("endless_models", [1, 3])
def test_endless_models_hold_up_no_other_on_a_board_with_one_thread(
    loop: Loop, models: Models, tmp_path: Path, endless_models: int
) -> None:
    store = BundleStore(tmp_path)
    endless = [f"endless-{number}" for number in range(endless_models)]
    for name in [*endless, "healthy"]:
        file = onnx_files.endless_loop() if name in endless else onnx_files.harmless()
        models.resume(write_bundle(store, name, Release("onnx", file)), 1)
    assert loop.run_until(lambda: all(models.reference(name) for name in [*endless, "healthy"]), 60)
    never: list[Any] = []
    answers: list[Any] = []
    for name in endless:
        models.submit(name, ModelInput({"a": [3 * LIMIT], "b": [2.0]}), never.append)
    for number in range(20):
        models.submit("healthy", ModelInput({"a": [float(number)], "b": [2.0]}), answers.append)
        assert loop.run_until(lambda number=number: len(answers) == number + 1, DEADLINE / 2)  # type: ignore[misc]
    assert never == []
    assert [answer.scores for answer in answers if isinstance(answer, Answer)] == [(number + 2.0,) for number in range(20)]
