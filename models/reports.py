"""`reports`: what is a short report of a farmer or a citizen about? English and Persian, as ONNX.

`python -m models reports` also writes the data set, `reports.jsonl`, from `report_sentences.py`.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from fleet_contract.manifest import SCHEMA, Decision, Feature, InputKind, Manifest, Requirements, Runtime, Tensor
from fleet_controller.demo.recordings import Report
from models.bundle_folder import GOLDEN_NAME, Question, baseline_of, golden_samples, scores, vectors, write_bundle_folder
from models.report_sentences import ENGLISH, PERSIAN

DATA: Final = Path(__file__).parent.parent / "fleet_controller" / "demo" / "data" / "reports.jsonl"
LABELS: Final = tuple(ENGLISH)
HELD_OUT_FAMILIES: Final = ("11", "12", "13")
SENTENCES_OF_A_FAMILY: Final = 3
BUCKETS: Final = 4096
OPSET: Final = {"": 17, "ai.onnx.ml": 3}
_CHOICE = re.compile(r"\{([^{}]*)\}")


def written_reports() -> Iterator[Report]:
    """The data set: three different sentences of each family, always the same ones."""
    chance = random.Random(20240601)
    for language, sentences in (("en", ENGLISH), ("fa", PERSIAN)):
        for label, lines in sentences.items():
            for number, line in enumerate(lines.strip().splitlines(), 1):
                made: dict[str, None] = {}
                for _ in range(200):
                    if len(made) < SENTENCES_OF_A_FAMILY:
                        made[_CHOICE.sub(lambda match: chance.choice(match[1].split("|")), line)] = None
                for text in made:
                    yield Report(text, label, language, f"{language}-{label}-{number}")


def is_held_out(report: Report) -> bool:
    """The last three families of each label and language."""
    return report.family.rsplit("-", 1)[1] in HELD_OUT_FAMILIES


def train(rows: list[Report]) -> tuple[Manifest, bytes]:
    """Logistic regression on hashed character n-grams; its figures are of families it never saw.

    The n-grams' lengths and the buckets were chosen by cross-validation over the families that are trained on.
    """
    known = [row for row in rows if not is_held_out(row)]
    inputs = vectors(_manifest(), _questions(known))
    model = LogisticRegression(C=30.0, max_iter=2000)
    model.fit(inputs, [LABELS.index(row.label) for row in known])
    graph = to_onnx(
        model,
        initial_types=[("features", FloatTensorType([None, BUCKETS]))],
        options={id(model): {"zipmap": False}},
        target_opset=OPSET,
    )
    graph.producer_version = ""
    data = graph.SerializeToString(deterministic=True)
    return msgspec.structs.replace(_manifest(), metrics=measure(data, rows)), data


def measure(model: bytes, rows: list[Report]) -> dict[str, float]:
    """Held-out figures, and what always answering one label would give."""
    unseen = [row for row in rows if is_held_out(row)]
    right = np.array([LABELS.index(row.label) for row in unseen])
    given = scores(_manifest(), model, _questions(unseen)).argmax(axis=1)
    english = np.array([row.language == "en" for row in unseen])
    figures = {
        "accuracy": accuracy_score(right, given),
        "macro_f1": f1_score(right, given, average="macro"),
        "accuracy_en": accuracy_score(right[english], given[english]),
        "accuracy_fa": accuracy_score(right[~english], given[~english]),
        "baseline_one_label_accuracy": np.bincount(right).max() / len(right),
        "held_out_texts": len(unseen),
        "held_out_families": len({row.family for row in unseen}),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def baseline(manifest: Manifest, model: bytes) -> bytes:
    """What drift is measured against: all reports. Those held out alone are too few to tell drift from chance."""
    return baseline_of(manifest, model, _questions(list(written_reports())), "reports.jsonl, all sentence families")


def build() -> list[Manifest]:
    """Write the data set and train and write the version."""
    rows = list(written_reports())
    lines = (json.dumps({key: getattr(row, key) for key in Report.__slots__}, ensure_ascii=False) for row in rows)
    DATA.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    manifest, model = train(rows)
    unseen = [row for row in rows if is_held_out(row)]
    asked = _questions(unseen[::13])
    write_bundle_folder(manifest, model, golden_samples(asked, scores(manifest, model, asked)), baseline(manifest, model))
    return [manifest]


def _questions(rows: list[Report]) -> list[Question]:
    return [Question(text=row.text) for row in rows]


def _manifest() -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name="reports",
        version="1.0.0",
        description="What is a short report about? English and Persian. ONNX opset 17, ai.onnx.ml 3.",
        task="classification",
        runtime=Runtime.ONNX,
        file="reports.onnx",
        golden=GOLDEN_NAME,
        kind=InputKind.TEXT,
        features=(Feature(op="char_ngrams", args={"n_min": 3, "n_max": 4, "buckets": BUCKETS}),),
        input_tensor=Tensor(name="features", dtype="float32", shape=(-1, BUCKETS)),
        output_tensor=Tensor(name="probabilities", dtype="float32", shape=(-1, len(LABELS))),
        labels=LABELS,
        decision=Decision(),
        requirements=Requirements(memory_bytes=96 * 1024**2, runtime_min="1.16"),
        licence="Apache-2.0",
        metrics_data="reports.jsonl: three of thirteen sentence families of each label and language, never trained on",
        trained_on="reports.jsonl, the first ten sentence families of each label and language",
    )
