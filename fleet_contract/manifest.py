"""The bundle manifest `model.toml`, typed. Preprocessing, features and labels travel with the model.

Unknown keys are errors here, unlike in messages: a manifest is signed and checked, and a misspelt key must not pass silently.
"""

import math
import re
import tomllib
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from fleet_contract.features import OPERATIONS, FeatureRuleError, Reads, feature_width
from fleet_contract.topics import check_name

SCHEMA: Final = 1
MANIFEST_NAME: Final = "model.toml"
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?")
_ENTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ManifestError(ValueError):
    """The manifest is wrong; the text names the key and says what it should be."""


class Runtime(StrEnum):
    """What runs the model file."""

    ONNX = "onnx"
    TFLITE = "tflite"


class InputKind(StrEnum):
    """What the model is asked about: a window of readings, or one text."""

    WINDOW = "window"
    TEXT = "text"


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """The base of all manifest records."""


class Tensor(Record, frozen=True, kw_only=True):
    """A tensor of the model file. `-1` in the shape is the batch; the first dimension is always the batch."""

    name: str
    dtype: str
    """As numpy names it: `float32`, `int8`, `int64`."""
    shape: tuple[int, ...]


class Feature(Record, frozen=True, kw_only=True):
    """One feature: an operation on one input of the window, or on the text. Results are joined in order into a vector.

    The operations, their arguments and the shapes they give are listed in `fleet_contract/features.py` and docs/features.md.
    """

    op: str
    input: str | None = None
    """The name of the window's input (a key of `inputs`); none for operations on text."""
    args: dict[str, Any] = {}


class Scaling(Record, frozen=True, kw_only=True):
    """Standardisation of the feature vector: `(x - mean) / scale`, element by element."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]


class WindowInput(Record, frozen=True, kw_only=True):
    """One quantity that the window holds for each event."""

    name: str
    unit: str | None = None
    """SenML unit that the model was trained on; a pipeline whose readings have another unit is refused."""


class Decision(Record, frozen=True, kw_only=True):
    """What the model's maker recommends; a pipeline may override it."""

    label: str | None = None
    """Whose score the threshold looks at; the first output where there are no labels."""
    threshold: float | None = None
    hysteresis: float = 0.0


class Requirements(Record, frozen=True, kw_only=True):
    """What the device must have."""

    memory_bytes: int = 0
    runtime_min: str | None = None
    """The lowest version of the runtime, such as `1.16`; for `tflite` in the numbers of tflite-runtime, which LiteRT meets."""


class Manifest(Record, frozen=True, kw_only=True):
    """`model.toml` of a bundle."""

    schema: int
    name: str
    version: str
    description: str = ""
    task: str
    """`classification`, `regression` or `anomaly`."""
    runtime: Runtime
    file: str
    """The model file's entry in the bundle."""
    golden: str
    """The golden samples' entry in the bundle: JSON, see `fleet_contract.golden`."""
    kind: InputKind
    window: int = 1
    """How many events the model was trained on; the least number that a window must hold to be scored."""
    inputs: tuple[WindowInput, ...] = ()
    features: tuple[Feature, ...]
    scaling: Scaling | None = None
    input_tensor: Tensor
    output_tensor: Tensor
    """Scores, shape (batch, labels) or (batch, 1)."""
    labels: tuple[str, ...] = ()
    decision: Decision = Decision()
    requirements: Requirements = Requirements()
    licence: str
    """SPDX expression."""
    metrics: dict[str, float] = {}
    """On held-out data."""
    metrics_data: str = ""
    """Which data, and how it was held out."""
    trained_on: str = ""

    def check(self) -> None:
        """Raise ManifestError where the manifest contradicts itself."""
        if self.schema != SCHEMA:
            raise ManifestError(f"schema: {self.schema} is not known, this software reads {SCHEMA}")
        try:
            check_name(self.name, "name")
        except ValueError as error:
            raise ManifestError(str(error)) from error
        if not _VERSION.fullmatch(self.version):
            raise ManifestError(f"version: {self.version!r} is not of the form 1.2.3 or 1.2.3-label")
        for key, entry in (("file", self.file), ("golden", self.golden)):
            if not _ENTRY.fullmatch(entry) or entry == MANIFEST_NAME:
                raise ManifestError(f"{key}: {entry!r} is not a plain file name")
        if self.file == self.golden:
            raise ManifestError("golden: must be another entry than file")
        if not self.features:
            raise ManifestError("features: at least one is needed")
        if self.kind is InputKind.WINDOW and not self.inputs:
            raise ManifestError("inputs: a model on windows needs at least one")
        if self.kind is InputKind.TEXT and self.inputs:
            raise ManifestError("inputs: a model on text has none")
        names = [item.name for item in self.inputs]
        if len(set(names)) != len(names):
            raise ManifestError("inputs: a name stands twice")
        for position, feature in enumerate(self.features):
            if feature.input is not None and feature.input not in names:
                raise ManifestError(f"features[{position}].input: {feature.input!r} is not one of inputs")
        given = self._features_width()
        if self.window < 1:
            raise ManifestError("window: at least 1")
        if len(set(self.labels)) != len(self.labels):
            raise ManifestError("labels: a label stands twice")
        for key, tensor in (("input_tensor", self.input_tensor), ("output_tensor", self.output_tensor)):
            if len(tensor.shape) < 2 or any(size < 1 for size in tensor.shape[1:]):
                raise ManifestError(f"{key}.shape: a batch dimension and fixed positive dimensions behind it")
        taken = math.prod(self.input_tensor.shape[1:])
        if given != taken:
            raise ManifestError(f"input_tensor.shape: takes {taken} values, but the features give {given}")
        outputs = self.output_tensor.shape[-1]
        if self.labels and outputs != len(self.labels):
            raise ManifestError(f"output_tensor.shape: {outputs} scores, but {len(self.labels)} labels")
        if self.decision.label is not None and self.decision.label not in self.labels:
            raise ManifestError(f"decision.label: {self.decision.label!r} is not one of labels")
        if self.scaling is not None:
            width = self.input_tensor.shape[-1]
            if len(self.scaling.mean) != width or len(self.scaling.scale) != width:
                raise ManifestError(f"scaling: mean and scale need {width} values, as input_tensor has")
            if any(value == 0 for value in self.scaling.scale):
                raise ManifestError("scaling.scale: a zero")

    def _features_width(self) -> int:
        given = 0
        for position, feature in enumerate(self.features):
            try:
                given += feature_width(feature.op, feature.input, feature.args)
            except FeatureRuleError as error:
                raise ManifestError(f"features[{position}]: {error}") from error
            if self.kind is InputKind.WINDOW and OPERATIONS[feature.op].reads is Reads.TEXT:
                raise ManifestError(f"features[{position}]: {feature.op} reads a text, but kind is window")
        return given


def parse_manifest(data: bytes) -> Manifest:
    """Parse and check `model.toml`; raises ManifestError naming the key."""
    try:
        table = tomllib.loads(data.decode("utf-8"))
        manifest = msgspec.convert(table, Manifest, strict=True)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ManifestError(f"{MANIFEST_NAME}: {error}") from error
    manifest.check()
    return manifest


class GoldenSample(Record, frozen=True, kw_only=True):
    """One input with the answer that the model must give: raw window or text in, scores out, preprocessing included."""

    window: dict[str, tuple[float | None, ...]] = {}
    """Input name to its values, oldest first; for a model on windows."""
    times: tuple[float, ...] = ()
    """Event times in seconds since 1970, one for each value; empty where no feature needs them."""
    text: str | None = None
    scores: tuple[float, ...]
    tolerance: float = 1e-3
    """Largest absolute difference of a score."""


def parse_golden(data: bytes, manifest: Manifest) -> tuple[GoldenSample, ...]:
    """Parse the golden samples (a JSON array) and check them against the manifest; raises ManifestError."""
    try:
        samples = msgspec.json.decode(data, type=tuple[GoldenSample, ...])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{manifest.golden}: {error}") from error
    if not samples:
        raise ManifestError(f"{manifest.golden}: at least one golden sample is needed")
    names = {item.name for item in manifest.inputs}
    width = manifest.output_tensor.shape[-1]
    for position, sample in enumerate(samples):
        where = f"{manifest.golden}[{position}]"
        if manifest.kind is InputKind.TEXT and (sample.text is None or sample.window):
            raise ManifestError(f"{where}: a text and no window is needed")
        if manifest.kind is InputKind.WINDOW and set(sample.window) != names:
            raise ManifestError(f"{where}.window: needs exactly {sorted(names)}")
        if len(sample.scores) != width:
            raise ManifestError(f"{where}.scores: {len(sample.scores)}, but the model gives {width}")
    return samples
