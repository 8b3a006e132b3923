"""What counting for drift costs the daemon for each input, and health for each model, beside the bounds that were set for them.

The inputs are those of the demo's recordings, counted by the baselines of the demo's models. Of a text one in four is read, so
texts are measured as they come.
"""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from benchmarks.figures import Figure, quick, write
from edge_agent.drift.counting import Counting
from edge_agent.inference.answers import ModelInput
from fleet_contract.baseline import Baseline, parse_baseline
from fleet_contract.drift import Limits
from fleet_contract.manifest import Manifest, parse_manifest
from fleet_controller.demo.recordings import flow_hours, reports, weather_days
from models.bundle_folder import MODELS

ROUNDS: Final = 9
BATCHES: Final = (1, 16, 64)
MOST_MICROSECONDS: Final = 2.0
MOST_BYTES: Final = 4096.0


def _load(name: str, version: str) -> tuple[Manifest, Baseline]:
    folder = MODELS / name / version
    manifest = parse_manifest((folder / "model.toml").read_bytes())
    return manifest, parse_baseline((folder / "baseline.json").read_bytes(), manifest)


def _weather() -> list[ModelInput]:
    days = weather_days()
    names = ("temp_max", "temp_min", "wind", "precipitation")
    return [
        ModelInput({name: [float(getattr(day, name)) for day in days[end - 7 : end]] for name in names})
        for end in range(7, len(days))
    ]


def _flow() -> list[ModelInput]:
    flows = [hour.flow for hour in flow_hours()]
    return [ModelInput({"flow": flows[end - 24 : end]}) for end in range(24, len(flows))]


def microseconds(counting: Counting, items: Sequence[ModelInput], scores: Sequence[float], size: int) -> float:
    """For each input, in batches of `size`."""
    batches = [items[at : at + size] for at in range(0, len(items) - size + 1, size)]
    results = [scores] * size
    begun = time.perf_counter()
    for batch in batches:
        counting.add(batch, results)
    return (time.perf_counter() - begun) / (len(batches) * size) * 1e6


def main() -> None:
    """Measure and write the figures."""
    texts = [ModelInput(text=report.text) for report in reports()]
    subjects = (
        ("frost 2.0.0, 4 inputs", _load("frost", "2.0.0"), _weather()),
        ("leak 2.0.0, 1 input", _load("leak", "2.0.0"), _flow()),
        ("reports 1.0.0, texts", _load("reports", "1.0.0"), texts),
    )
    rounds = 1 if quick() else ROUNDS
    figures = []
    for name, (manifest, baseline), items in subjects:
        width = max(len(manifest.labels), 1)
        scores = tuple((position + 1) / (width + 1) for position in range(width))
        for size in BATCHES:
            counting = Counting(manifest, baseline)
            taken = [microseconds(counting, items, scores, size) for _ in range(rounds)]
            figures.append(Figure(f"{name}, by {size}", "us", taken, [MOST_MICROSECONDS], "bound"))
        counting = Counting(manifest, baseline)
        microseconds(counting, items, scores, 1)
        told = len(msgspec.json.encode(counting.report(Limits(), 500)))
        figures.append(Figure(f"{name}, in health", "bytes", [float(told)], [MOST_BYTES], "bound"))
    write("drift", figures)
