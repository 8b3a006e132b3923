"""The baseline of a bundle, from a data set: inputs as they are, outputs as the agent's own code gives them."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from fleet_contract.baseline import (
    CONFIDENCE,
    LABEL,
    LENGTH,
    SCHEMA,
    SCORE,
    SCRIPT,
    UNKNOWN,
    Baseline,
    NumberBaseline,
    number_names,
)
from fleet_contract.bundle import BundleError
from fleet_contract.drift import make_category_baseline, make_number_baseline
from fleet_contract.evaluation import DataSetError, parse_data_set
from fleet_contract.manifest import MANIFEST_NAME, InputKind, Manifest, ManifestError, parse_manifest
from fleet_contract.text_figures import script_of, top_words, unknown_share
from fleet_controller.durable import write_file_durably
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.variants.evaluation import EvaluationError, evaluate

BASELINE_NAME: Final = "baseline.json"
FEWEST_SAMPLES: Final = 30
_GOLDEN_LINE: Final = re.compile(r"^golden\s*=.*$", re.MULTILINE)
_BASELINE_LINE: Final = re.compile(r"""^baseline\s*=\s*["'].*\n?""", re.MULTILINE)
"""The key itself; a metric of that name is a number."""


class BaselineError(ValueError):
    """No baseline can be made of this; the text says why."""


class Sample(Protocol):
    """One input that the model was asked about."""

    @property
    def window(self) -> Mapping[str, Sequence[float | None]]: ...
    @property
    def text(self) -> str | None: ...


def make_baseline(
    manifest: Manifest,
    samples: Sequence[Sample],
    scores: Sequence[Sequence[float] | None],
    data: str = "",
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Baseline:
    """Sketches of the newest value of each input, of the texts and of the scores; None is an input that got none.

    `ranges`: an input to the least and the largest value that the maker calls possible.
    """
    numbers: dict[str, NumberBaseline | None] = {}
    categories = {}
    words: tuple[str, ...] = ()
    for item in manifest.inputs:
        low, high = (ranges or {}).get(item.name, (None, None))
        newest = [(sample.window.get(item.name) or (None,))[-1] for sample in samples]
        numbers[f"input.{item.name}"] = make_number_baseline(newest, low=low, high=high)
    if manifest.kind is InputKind.TEXT:
        texts = [sample.text or "" for sample in samples]
        words = top_words(texts)
        # A text's own words would all be known: each half is held against the words of the other.
        halves = [set(top_words(texts[half::2])) for half in (1, 0)]
        numbers[LENGTH] = make_number_baseline([float(len(text)) for text in texts])
        numbers[UNKNOWN] = make_number_baseline([unknown_share(text, halves[at % 2]) for at, text in enumerate(texts)])
        categories[SCRIPT] = make_category_baseline(map(script_of, texts))
    given = [row for row in scores if row is not None]
    if CONFIDENCE in number_names(manifest):
        numbers[CONFIDENCE] = make_number_baseline([max(row) for row in given])
        categories[LABEL] = make_category_baseline(manifest.labels[row.index(max(row))] for row in map(tuple, given))
    elif SCORE in number_names(manifest):
        numbers[SCORE] = make_number_baseline([row[0] for row in given])
    return Baseline(
        schema=SCHEMA,
        samples=len(samples),
        data=data,
        numbers={name: made for name, made in numbers.items() if made is not None},
        categories=categories,
        words=words,
    )


def baseline_json(baseline: Baseline) -> bytes:
    """As it is written: a line for each sketch, so that changes can be read."""
    return msgspec.json.encode(baseline).replace(b'},"', b'},\n"') + b"\n"


def write_baseline(folder: Path, data: Path, ranges: Mapping[str, tuple[float, float]] | None = None) -> Baseline:
    """Run a data set (JSON lines) through the bundle of a folder, write `baseline.json`, and name it in `model.toml`.

    Raises BaselineError.
    """
    try:
        text = (folder / MANIFEST_NAME).read_text(encoding="utf-8")
        # What is there is made anew, and may be of another model.
        bare = _BASELINE_LINE.sub("", text)
        manifest = parse_manifest(bare.encode())
        samples = parse_data_set(data.read_bytes(), manifest, str(data))
        known = {item.name for item in manifest.inputs}
        if unknown := sorted((ranges or {}).keys() - known):
            raise BaselineError(f"range {unknown[0]!r}: the model's inputs are: {', '.join(sorted(known)) or 'none'}")
        if len(samples) < FEWEST_SAMPLES:
            raise BaselineError(f"{data}: {len(samples)} samples; a baseline needs at least {FEWEST_SAMPLES}")
        scores = _score(folder, bare, manifest, data)
        baseline = make_baseline(manifest, samples, scores, data.name, ranges)
        write_file_durably(folder / BASELINE_NAME, baseline_json(baseline))
        named = _GOLDEN_LINE.sub(lambda found: f'{found[0]}\nbaseline = "{BASELINE_NAME}"', bare, count=1)
        write_file_durably(folder / MANIFEST_NAME, named.encode())
    except OSError as error:
        raise BaselineError(f"{error.filename}: {error.strerror}") from error
    except (BundleError, DataSetError, EvaluationError, ManifestError) as error:
        raise BaselineError(str(error)) from error
    return baseline


def _score(folder: Path, manifest_text: str, manifest: Manifest, data: Path) -> tuple[tuple[float, ...] | None, ...]:
    with tempfile.TemporaryDirectory() as place:
        bare = Path(place) / "bundle"
        bare.mkdir()
        (bare / MANIFEST_NAME).write_text(manifest_text, encoding="utf-8")
        for name in manifest.entries:
            (bare / name).symlink_to((folder / name).resolve())
        packed = Path(place) / "bundle.tar"
        build_bundle(bare, packed)
        result = evaluate(packed, data=data, seconds=0.0)
    for failed in (result.failed, result.golden):
        if failed is not None:
            raise BaselineError(f"{folder}: {failed[0]}: {failed[1]}")
    if not any(row is not None for row in result.scores):
        raise BaselineError(f"{folder}: no sample got scores; the first: {result.faults[0][2]}")
    return result.scores
