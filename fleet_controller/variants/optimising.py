"""From a bundle to its variants: make each, have it tried, judge it, and give out those that are accepted."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError

from fleet_contract.bundle import BundleError
from fleet_contract.evaluation import DataSample, DataSetError, Evaluation, parse_data_set
from fleet_contract.manifest import Manifest, Runtime
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.variants.activations import Feeds
from fleet_controller.variants.bundles import Source, give_out, open_source, variant_manifest, write_folder
from fleet_controller.variants.evaluation import EvaluationError, evaluate
from fleet_controller.variants.figures import Scores, likeness, quality
from fleet_controller.variants.graph_facts import graph_facts
from fleet_controller.variants.judging import Limits, Measured, refusals, remarks
from fleet_controller.variants.kinds import CALIBRATED, Kind
from fleet_controller.variants.making import VariantImpossible, make_variant


class OptimiseError(Exception):
    """Nothing can be made: the bundle or a data set cannot be used. The text says which and why."""


class State(StrEnum):
    """What became of one kind of variant."""

    MADE = "made"
    REFUSED = "refused"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator asked for."""

    kinds: Sequence[Kind]
    out: Path
    data: Path | None = None
    calibration: Path | None = None
    prune_share: float = 0.0
    """0 to 1."""
    tolerance: float | None = None
    """Of the variants' golden samples; None keeps the source's."""
    limits: Limits = field(default_factory=Limits)
    seconds: float = 1.0
    """How long each is timed."""

    @property
    def calibrates(self) -> bool:
        """Whether the calibration samples are needed."""
        return self.calibration is not None and not CALIBRATED.isdisjoint(self.kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One kind of variant."""

    kind: Kind
    state: State
    reasons: Sequence[str] = ()
    """Why it was refused, or cannot be made."""
    remarks: Sequence[str] = ()
    measured: Measured | None = None
    """None if it cannot be made."""
    path: Path | None = None
    """Where it was written."""
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The source beside its variants."""

    manifest: Manifest
    source: Measured
    data: str
    """Which samples the figures are of."""
    outcomes: Sequence[Outcome]


def optimise(path: Path, wish: Wish, tell: Callable[[str], object]) -> Report:
    """Make the wished variants of the bundle at `path`; `tell` is called before each step. Raises OptimiseError."""
    with tempfile.TemporaryDirectory(prefix="fleet-optimize-") as folder:
        try:
            return _Optimiser(path, wish, tell, Path(folder)).run()
        except (BundleError, DataSetError, EvaluationError) as error:
            raise OptimiseError(str(error)) from error
        except OSError as error:
            raise OptimiseError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


class _Optimiser:
    def __init__(self, path: Path, wish: Wish, tell: Callable[[str], object], scratch: Path) -> None:
        self._wish, self._tell, self._scratch = wish, tell, scratch
        self._source: Source = open_source(path, scratch)
        manifest = self._source.manifest
        if manifest.runtime is not Runtime.ONNX:
            raise OptimiseError(f"{path}: {manifest.name} is a model for {manifest.runtime}; variants are made of onnx alone")
        self._asked = wish.data if wish.data is not None else self._golden_as_data()
        self._samples = self._read(self._asked)
        self._data = _describe(wish.data, len(self._samples))
        self._calibration = self._read(wish.calibration)

    def _read(self, data: Path | None) -> tuple[DataSample, ...]:
        return parse_data_set(data.read_bytes(), self._source.manifest, str(data)) if data is not None else ()

    def _golden_as_data(self) -> Path:
        """Without a data set, likeness is still measured, on the golden samples; they say nothing of what is right."""
        golden = self._source.golden
        rows = [DataSample(window=item.window, times=item.times, text=item.text, tensors=item.tensors) for item in golden]
        path = self._scratch / "golden.jsonl"
        path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
        return path

    def run(self) -> Report:
        self._tell("the source, measured")
        asked = evaluate(self._source.tar, data=self._asked, seconds=self._wish.seconds)
        if asked.failed is not None or asked.golden is not None:
            reason, text = asked.failed or asked.golden or ("", "")
            raise OptimiseError(f"the source itself is not sound: {text} ({reason})")
        try:
            model = onnx.load_model_from_string(self._source.model)
        except DecodeError as error:
            raise OptimiseError(f"{self._source.manifest.file}: {error}") from error
        source = self._measured(model, len(self._source.model), asked, None)
        calibration = self._calibration_inputs() if self._wish.calibrates else []
        outcomes = [self._variant(kind, model, source, calibration) for kind in self._wish.kinds]
        return Report(manifest=self._source.manifest, source=source, data=self._data, outcomes=outcomes)

    def _calibration_inputs(self) -> list[Feeds]:
        """The model's own inputs for each calibration sample, worked out as on a device."""
        self._tell("calibration samples, features worked out")
        folder = self._scratch / "inputs"
        folder.mkdir()
        evaluate(self._source.tar, data=self._wish.calibration, inputs=folder, seconds=0)
        found: list[Feeds] = []
        for position in range(len(self._calibration)):
            file = folder / f"{position}.npz"
            if file.exists():
                with np.load(file) as kept:
                    found.append(dict(kept))
        if not found:
            raise OptimiseError(f"{self._wish.calibration}: features could be worked out for none of its samples")
        return found

    def _variant(self, kind: Kind, model: onnx.ModelProto, source: Measured, calibration: Sequence[Feeds]) -> Outcome:
        self._tell(f"{kind}, made")
        try:
            made = make_variant(kind, model, calibration, self._wish.prune_share)
        except VariantImpossible as error:
            return Outcome(kind=kind, state=State.IMPOSSIBLE, reasons=[str(error)])
        data = made.SerializeToString(deterministic=True)
        manifest = variant_manifest(self._source.manifest, kind, {node.op_type for node in made.graph.node})
        folder, tar = self._scratch / kind.value, self._scratch / f"{kind.value}.tar"
        write_folder(self._source, manifest, data, self._wish.tolerance, folder)
        build_bundle(folder, tar)
        self._tell(f"{kind}, measured")
        ran = evaluate(tar, data=self._asked, seconds=self._wish.seconds)
        if ran.failed is not None:
            reasons = [f"devices could not load it: {ran.failed[1]} ({ran.failed[0]})"]
            return Outcome(kind=kind, state=State.REFUSED, reasons=reasons)
        measured = self._measured(made, len(data), ran, source.evaluation.scores)
        reasons = refusals(source, measured, self._wish.limits)
        said = remarks(source, measured)
        if kind in CALIBRATED and self._wish.data is not None and self._wish.data == self._wish.calibration:
            said.append("calibrated with the very data that it is judged on")
        if reasons:
            return Outcome(kind=kind, state=State.REFUSED, reasons=reasons, remarks=said, measured=measured)
        manifest = msgspec.structs.replace(manifest, metrics=self._metrics(source, measured), metrics_data=self._data)
        given = self._scratch / f"{kind.value}-given"
        write_folder(self._source, manifest, data, self._wish.tolerance, given)
        path = give_out(given, manifest, self._wish.out, as_folder=self._source.is_folder)
        return Outcome(kind=kind, state=State.MADE, remarks=said, measured=measured, path=path, manifest=manifest)

    def _measured(self, model: onnx.ModelProto, size: int, ran: Evaluation, of_source: Scores | None) -> Measured:
        alike = likeness(of_source, ran.scores) if of_source else None
        return Measured(size, graph_facts(model), ran, quality(self._source.manifest, self._samples, ran.scores), alike)

    def _metrics(self, source: Measured, variant: Measured) -> dict[str, float]:
        found: dict[str, float | None] = {"golden_largest_difference": variant.evaluation.golden_difference}
        if variant.quality is not None and source.quality is not None:
            found |= {variant.quality.name: variant.quality.value, f"source_{source.quality.name}": source.quality.value}
            found |= {"mae": variant.quality.mae, "samples": float(variant.quality.samples)}
        if variant.likeness is not None:
            found |= {
                "cosine_to_source": variant.likeness.cosine_mean,
                "largest_difference_to_source": variant.likeness.largest_difference,
            }
        return {name: round(value, 6) for name, value in found.items() if value is not None}


def _describe(data: Path | None, samples: int) -> str:
    if data is None:
        return f"the {samples} golden samples alone"
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    return f"{data.name}, {samples} samples, SHA-256 {digest}"
