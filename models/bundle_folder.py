"""A bundle's source folder: `model.toml`, the model file, and golden samples and a baseline by the runtime that devices use."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from edge_agent.inference.worker.features import compute
from fleet_contract.baseline import parse_baseline
from fleet_contract.manifest import MANIFEST_NAME, Manifest, parse_golden, parse_manifest
from fleet_controller.drift.baselines import BASELINE_NAME, baseline_json, make_baseline
from fleet_controller.registry.manifest_text import manifest_toml
from models.runtimes import Matrix, run_model

MODELS: Final = Path(__file__).parent.parent / "fleet_controller" / "demo" / "models"
GOLDEN_NAME: Final = "golden.json"


@dataclass(frozen=True)
class Question:
    """One raw input: a window with its event times, or a text."""

    window: dict[str, list[float]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    text: str | None = None


def vectors(manifest: Manifest, questions: Sequence[Question]) -> Matrix:
    """What the model reads for each question: features, then scaling, as on the device; shape (questions, width)."""
    features = [{"op": item.op, "input": item.input, "args": item.args} for item in manifest.features]
    raw = np.stack([compute(features, item.window, item.times, item.text) for item in questions])
    return scale(manifest, raw)


def scale(manifest: Manifest, raw: Matrix) -> Matrix:
    """The manifest's standardisation, float32."""
    if manifest.scaling is None:
        return raw
    mean, width = np.array(manifest.scaling.mean, np.float32), np.array(manifest.scaling.scale, np.float32)
    return ((raw - mean) / width).astype(np.float32)


def scores(manifest: Manifest, model: bytes, questions: Sequence[Question]) -> Matrix:
    """What a device answers; shape (questions, labels or 1)."""
    return run_model(manifest, model, vectors(manifest, questions))


def golden_samples(questions: Sequence[Question], answers: Matrix, tolerance: float = 1e-3) -> bytes:
    """Golden samples as JSON: the questions with the answers given."""
    rows = []
    for question, answer in zip(questions, answers, strict=True):
        row: dict[str, Any] = {}
        if question.text is None:
            row |= {"window": question.window, "times": question.times}
        else:
            row["text"] = question.text
        rows.append(row | {"scores": [round(float(value), 6) for value in answer], "tolerance": tolerance})
    return ("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n").encode()


def baseline_of(manifest: Manifest, model: bytes, questions: Sequence[Question], data: str) -> bytes:
    """What drift is measured against, as JSON: these questions and the answers to them."""
    return baseline_json(make_baseline(manifest, questions, scores(manifest, model, questions).tolist(), data))


def write_bundle_folder(manifest: Manifest, model: bytes, golden: bytes, baseline: bytes, root: Path = MODELS) -> Path:
    """Write `root/name/version/`, checked by the parsers of the contract; returns the folder."""
    named = msgspec.structs.replace(manifest, baseline=BASELINE_NAME)
    text = manifest_toml(named).encode()
    parse_golden(golden, parse_manifest(text))
    parse_baseline(baseline, named)
    folder = root / manifest.name / manifest.version
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in ((MANIFEST_NAME, text), (manifest.file, model), (manifest.golden, golden), (BASELINE_NAME, baseline)):
        (folder / name).write_bytes(data)
    return folder
