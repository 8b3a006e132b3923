"""`frost`: will tomorrow's minimum be at or below 2 °C? From seven days of daily weather, as TensorFlow Lite.

At 2 °C measured at station height, grass and leaves can already freeze; the series has too few nights at 0 °C (15 in the
held-out year) to say much about them. A hidden layer was tried and was worse in the validation year 2014 (ROC AUC 0.968
against 0.977), so the network is one layer.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from fleet_contract.manifest import (
    SCHEMA,
    Decision,
    Feature,
    InputKind,
    Manifest,
    Requirements,
    Runtime,
    Scaling,
    Tensor,
    WindowInput,
)
from fleet_controller.demo.recordings import weather_days
from models.bundle_folder import GOLDEN_NAME, Question, baseline_of, golden_samples, scores, vectors, write_bundle_folder
from models.tflite_writer import Activation, Dense, write_dense

WINDOW: Final = 7
FROST_CEL: Final = 2.0
THRESHOLD: Final = 0.3
EVENING: Final = time(18, 0, tzinfo=UTC)
"""When a day's record is published; only the day of year matters to the model."""
INPUTS: Final = {"temp_max": "Cel", "temp_min": "Cel", "wind": "m/s", "precipitation": "mm"}

FIRST: Final = (Feature(op="last", input="temp_min"),)
SECOND: Final = (
    *FIRST,
    Feature(op="last", input="temp_max"),
    Feature(op="last", input="wind"),
    Feature(op="last", input="precipitation"),
    Feature(op="lag", input="temp_min", args={"k": 1}),
    Feature(op="mean", input="temp_min"),
    Feature(op="slope", input="temp_min", args={"per": "step"}),
    Feature(op="mean", input="precipitation"),
    Feature(op="day_of_year"),
)


def questions(years: Sequence[int]) -> tuple[list[Question], NDArray[np.int64]]:
    """Seven days each, and whether the day after them (which lies in `years`) had frost."""
    days = weather_days()
    asked: list[Question] = []
    frost: list[int] = []
    for position in range(WINDOW, len(days)):
        if days[position].day.year not in years:
            continue
        week = days[position - WINDOW : position]
        window = {name: [float(getattr(day, name)) for day in week] for name in INPUTS}
        times = [datetime.combine(day.day, EVENING).timestamp() for day in week]
        asked.append(Question(window, times))
        frost.append(int(days[position].temp_min <= FROST_CEL))
    return asked, np.array(frost)


def train(
    version: str, features: tuple[Feature, ...], years: Sequence[int], strength: float, class_weight: str | None = None
) -> tuple[Manifest, bytes]:
    """One version: logistic regression, regularised by 1/`strength`; its figures are of 2015, which it never saw."""
    asked, frost = questions(years)
    width = len(vectors(_manifest(version, features, 0, years), asked[:1])[0])
    bare = _manifest(version, features, width, years)
    raw = vectors(bare, asked)
    scaler = StandardScaler().fit(raw)
    scaling = Scaling(
        mean=tuple(round(float(value), 6) for value in scaler.mean_),
        scale=tuple(round(float(value), 6) for value in scaler.scale_),
    )
    scaled = msgspec.structs.replace(bare, scaling=scaling)
    linear = LogisticRegression(C=strength, class_weight=class_weight).fit(vectors(scaled, asked), frost)
    weights, bias = linear.coef_.astype(np.float32), linear.intercept_.astype(np.float32)
    model = write_dense([Dense(weights, bias, Activation.LOGISTIC)])
    return msgspec.structs.replace(scaled, metrics=measure(scaled, model)), model


def measure(manifest: Manifest, model: bytes) -> dict[str, float]:
    """Held-out figures of 2015, with two baselines."""
    asked, frost = questions([2015])
    given = scores(manifest, model, asked)[:, 0]
    tonight = np.array([question.window["temp_min"][-1] for question in asked])
    figures = {
        "roc_auc": roc_auc_score(frost, given),
        "brier": brier_score_loss(frost, given),
        "f1": f1_score(frost, given >= THRESHOLD),
        "baseline_persistence_f1": f1_score(frost, tonight <= FROST_CEL),
        "baseline_persistence_roc_auc": roc_auc_score(frost, -tonight),
        "baseline_rate_brier": brier_score_loss(frost, np.full(len(frost), questions([2012, 2013, 2014])[1].mean())),
        "held_out_days": len(frost),
        "held_out_frosts": int(frost.sum()),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def baseline(manifest: Manifest, model: bytes) -> bytes:
    """What drift is measured against: the inputs that were trained on, as they were recorded."""
    return baseline_of(manifest, model, questions([2012, 2013, 2014])[0], "Seattle daily weather, 2012 to 2014")


def build() -> list[Manifest]:
    """Train and write all versions."""
    second = train("2.0.0", SECOND, [2012, 2013, 2014], strength=1.0)
    # The defect of version 5: balanced classes, and so much regularisation that nothing is left to be sure by. Its golden
    # samples are its own answers, as everybody's are, so they pass.
    unsure = train("5.0.0", SECOND, [2012, 2013, 2014], strength=1e-6, class_weight="balanced")
    text = f"Worse on purpose. {unsure[0].description}"
    good = [
        train("1.0.0", FIRST, [2012], strength=1.0),
        second,
        train("4.0.0", SECOND, [2012, 2013, 2014], strength=0.1),
        (msgspec.structs.replace(unsure[0], description=text), unsure[1]),
    ]
    asked = _golden_questions()
    for manifest, model in good:
        write_bundle_folder(manifest, model, golden_samples(asked, scores(manifest, model, asked)), baseline(manifest, model))
    manifest, model = second
    # The defect of version 3: someone sorted the features, and the weights still stand in the old order.
    order = sorted(manifest.features, key=lambda feature: (feature.op, feature.input or ""))
    text = f"Broken on purpose. {manifest.description}"
    broken = msgspec.structs.replace(manifest, version="3.0.0", features=tuple(order), description=text)
    golden = golden_samples(asked, scores(manifest, model, asked))
    write_bundle_folder(broken, model, golden, baseline(manifest, model))
    return [item[0] for item in good] + [broken]


def _golden_questions() -> list[Question]:
    """Eight of the held-out year, with frost and without."""
    asked, frost = questions([2015])
    cold, mild = np.flatnonzero(frost), np.flatnonzero(frost == 0)
    chosen = sorted([*cold[:: len(cold) // 4][:4], *mild[:: len(mild) // 4][:4]])
    return [asked[int(position)] for position in chosen]


def _manifest(version: str, features: tuple[Feature, ...], width: int, years: Sequence[int]) -> Manifest:
    span = f"{years[0]} to {years[-1]}" if len(years) > 1 else f"{years[0]}"
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "name": "frost",
        "version": version,
        "description": "Will tomorrow's minimum be at or below 2 degrees Celsius? From seven days of daily weather.",
        "task": "classification",
        "runtime": Runtime.TFLITE,
        "file": "frost.tflite",
        "golden": GOLDEN_NAME,
        "kind": InputKind.WINDOW,
        "window": WINDOW,
        "inputs": tuple(WindowInput(name=name, unit=unit) for name, unit in INPUTS.items()),
        "features": features,
        "input_tensor": Tensor(name="features", dtype="float32", shape=(-1, max(width, 1))),
        "output_tensor": Tensor(name="scores", dtype="float32", shape=(-1, 1)),
        "labels": ("frost",),
        "decision": Decision(label="frost", threshold=THRESHOLD, hysteresis=0.1),
        "requirements": Requirements(memory_bytes=64 * 1024**2, runtime_min="2.14"),
        "licence": "Apache-2.0",
        "metrics_data": "Seattle daily weather, all days of 2015, split by time: no day of 2015 was trained on",
        "trained_on": f"Seattle daily weather, {span}",
    }
    return Manifest(**fields)
