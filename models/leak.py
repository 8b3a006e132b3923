"""`leak`: is the last hour of a day's water flow abnormal? From 24 hourly readings, as ONNX.

The recorded anomalies are few and plain to see (four segments, three of them a fall to a quarter of the flow), so what a
model adds is tested on small shifts that are put into quiet hours of the recording: 1 to 4 l/s up or down on about 102 l/s,
from some hour of the last twelve on. Training and held-out hours are two parts of the recording that do not overlap.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
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
from fleet_controller.demo.recordings import FlowHour, flow_hours
from models.bundle_folder import GOLDEN_NAME, Question, baseline_of, golden_samples, scores, vectors, write_bundle_folder

WINDOW: Final = 24
LABELS: Final = ("normal", "abnormal")
THRESHOLD: Final = 0.5
NORMAL: Final = (98.0, 107.0)
"""l/s; a recorded hour outside is abnormal. The four segments that the data's authors describe lie outside, no others do."""
HELD_OUT: Final = datetime(2022, 4, 25, tzinfo=UTC)
"""Windows that start here or later are held out; windows that end before it are trained on. No window has hours of both."""
LONGEST_HOURS: Final = 26
"""A window with more missing hours than this allows is left out, as the model assumes one reading an hour."""
OPSET: Final = {"": 17, "ai.onnx.ml": 3}

FIRST: Final = (Feature(op="last", input="flow"), Feature(op="mean", input="flow"), Feature(op="delta", input="flow"))
SECOND: Final = (Feature(op="values", input="flow", args={"n": WINDOW}), Feature(op="hour", args={"offset_hours": 1}))

Labels = NDArray[np.int64]


def recorded(held_out: bool) -> tuple[list[Question], Labels]:
    """The windows of one part as recorded, and whether the last hour of each is abnormal."""
    hours = flow_hours()
    asked: list[Question] = []
    abnormal: list[int] = []
    for end in range(WINDOW, len(hours) + 1):
        day = hours[end - WINDOW : end]
        inside = day[0].time >= HELD_OUT if held_out else day[-1].time < HELD_OUT
        if inside and (day[-1].time - day[0].time).total_seconds() <= LONGEST_HOURS * 3600:
            asked.append(_question(day))
            abnormal.append(int(not NORMAL[0] <= day[-1].flow <= NORMAL[1]))
    return asked, np.array(abnormal)


def with_shifts(held_out: bool, seed: int, least: float = 1.0, most: float = 4.0) -> tuple[list[Question], Labels]:
    """The quiet windows of one part, every second one with a shift of `least` to `most` l/s put in."""
    random = np.random.default_rng(seed)
    asked, abnormal = [], []
    for question in recorded(held_out)[0]:
        flow = question.window["flow"]
        if not NORMAL[0] <= min(flow) <= max(flow) <= NORMAL[1]:
            continue
        shift = 0.0
        if random.random() < 0.5:
            shift = float(random.uniform(least, most) * random.choice([-1, 1]))
            onset = int(random.integers(1, 13))
            flow = flow[:-onset] + [round(value + shift, 2) for value in flow[-onset:]]
        asked.append(Question({"flow": flow}, question.times))
        abnormal.append(int(shift != 0.0))
    return asked, np.array(abnormal)


def train(version: str, features: tuple[Feature, ...], model: Any, seeds: Sequence[int]) -> tuple[Manifest, bytes]:
    """One version, trained on the recorded windows and on one copy with shifts for each seed."""
    parts = [recorded(held_out=False)] + [with_shifts(False, seed) for seed in seeds]
    asked = [question for part in parts for question in part[0]]
    abnormal = np.concatenate([part[1] for part in parts])
    width = vectors(_manifest(version, features, 1), asked[:1]).shape[1]
    bare = _manifest(version, features, width)
    scaler = StandardScaler().fit(vectors(bare, asked))
    scaling = Scaling(
        mean=tuple(round(float(value), 6) for value in scaler.mean_),
        scale=tuple(round(float(value), 6) for value in scaler.scale_),
    )
    manifest = msgspec.structs.replace(bare, scaling=scaling)
    model.fit(vectors(manifest, asked), abnormal)
    graph = to_onnx(
        model,
        initial_types=[("features", FloatTensorType([None, width]))],
        options={id(model): {"zipmap": False}},
        target_opset=OPSET,
    )
    graph.producer_version = ""
    data = graph.SerializeToString(deterministic=True)
    return msgspec.structs.replace(manifest, metrics=measure(manifest, data)), data


def measure(manifest: Manifest, model: bytes) -> dict[str, float]:
    """Held-out figures: shifts put into quiet hours, the one recorded segment, and false alarms on hours as recorded."""
    asked, shifted = with_shifts(held_out=True, seed=100)
    given = scores(manifest, model, asked)[:, 1]
    normal = [hour.flow for hour in flow_hours() if hour.time < HELD_OUT and NORMAL[0] <= hour.flow <= NORMAL[1]]
    distance = np.array([abs(question.window["flow"][-1] - np.mean(normal)) for question in asked])
    day_mean = np.array([abs(question.window["flow"][-1] - np.mean(question.window["flow"])) for question in asked])
    windows, abnormal = recorded(held_out=True)
    alarms = scores(manifest, model, windows)[:, 1] >= THRESHOLD
    figures = {
        "shift_roc_auc": roc_auc_score(shifted, given),
        "shift_f1": f1_score(shifted, given >= THRESHOLD),
        "shift_windows": len(shifted),
        "baseline_distance_from_mean_roc_auc": roc_auc_score(shifted, distance),
        "baseline_distance_from_day_roc_auc": roc_auc_score(shifted, day_mean),
        "recorded_abnormal_hours": int(abnormal.sum()),
        "recorded_abnormal_hours_found": int(alarms[abnormal == 1].sum()),
        "recorded_normal_hours": int((abnormal == 0).sum()),
        "recorded_false_alarm_rate": float(alarms[abnormal == 0].mean()),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def baseline(manifest: Manifest, model: bytes) -> bytes:
    """What drift is measured against: the inputs that were trained on, as they were recorded."""
    data = "river water-flow as recorded, windows that end before 2022-04-25"
    return baseline_of(manifest, model, recorded(held_out=False)[0], data)


def build() -> list[Manifest]:
    """Train and write all versions."""
    second = train("2.0.0", SECOND, _network(2), seeds=range(1, 11))
    good = [
        train("1.0.0", FIRST, GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=0), seeds=[1]),
        second,
        train("4.0.0", SECOND, _network(4), seeds=range(11, 21)),
    ]
    asked = _golden_questions()
    for manifest, model in good:
        write_bundle_folder(manifest, model, golden_samples(asked, scores(manifest, model, asked)), baseline(manifest, model))
    manifest, model = second
    assert manifest.scaling is not None
    # The defect of version 3: the scaling was fitted on flows in m3/h, while the readings are in l/s.
    wrong = Scaling(
        mean=tuple(round(value * 3.6, 6) for value in manifest.scaling.mean),
        scale=tuple(round(value * 3.6, 6) for value in manifest.scaling.scale),
    )
    text = f"Broken on purpose. {manifest.description}"
    broken = msgspec.structs.replace(manifest, version="3.0.0", scaling=wrong, description=text)
    golden = golden_samples(asked, scores(manifest, model, asked))
    write_bundle_folder(broken, model, golden, baseline(manifest, model))
    return [item[0] for item in good] + [broken]


def _network(seed: int) -> MLPClassifier:
    return MLPClassifier((32,), alpha=0.3, max_iter=400, random_state=seed)


def _golden_questions() -> list[Question]:
    """Eight of the held-out part: recorded hours, in and outside the segment, and hours with a shift."""
    windows, abnormal = recorded(held_out=True)
    asked, shifted = with_shifts(held_out=True, seed=100)
    segment, shifts = np.flatnonzero(abnormal), np.flatnonzero(shifted)
    quiet = np.flatnonzero(shifted == 0)
    chosen = [windows[int(segment[0])], windows[int(segment[-1])]]
    return chosen + [asked[int(item)] for item in (*shifts[[0, len(shifts) // 2, -1]], *quiet[[0, len(quiet) // 2, -1]])]


def _question(day: Sequence[FlowHour]) -> Question:
    return Question({"flow": [hour.flow for hour in day]}, [hour.time.timestamp() for hour in day])


def _manifest(version: str, features: tuple[Feature, ...], width: int) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name="leak",
        version=version,
        description="Is the last hour of a day's water flow abnormal? From 24 hourly readings. ONNX opset 17, ai.onnx.ml 3.",
        task="anomaly",
        runtime=Runtime.ONNX,
        file="leak.onnx",
        golden=GOLDEN_NAME,
        kind=InputKind.WINDOW,
        window=WINDOW,
        inputs=(WindowInput(name="flow", unit="l/s"),),
        features=features,
        input_tensor=Tensor(name="features", dtype="float32", shape=(-1, width)),
        output_tensor=Tensor(name="probabilities", dtype="float32", shape=(-1, len(LABELS))),
        labels=LABELS,
        decision=Decision(label="abnormal", threshold=THRESHOLD, hysteresis=0.1),
        requirements=Requirements(memory_bytes=96 * 1024**2, runtime_min="1.16"),
        licence="Apache-2.0",
        metrics_data=(
            "river water-flow, windows from 2022-04-25 on, split by time; shift_*: 1 to 4 l/s put into every second quiet "
            "window; recorded_*: hours as recorded, with one abnormal segment"
        ),
        trained_on="river water-flow, windows that end before 2022-04-25, as recorded and with shifts of 1 to 4 l/s put in",
    )
