"""The bundle manifest `model.toml`, typed. Preprocessing, features and labels travel with the model.

Unknown keys are errors here, unlike in messages: a manifest is signed and checked, and a misspelt key must not pass silently.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from fleet_contract.features import OPERATIONS, FeatureRuleError, Reads, feature_width
from fleet_contract.manifest_keys import explain_key
from fleet_contract.manifest_record import ManifestError as ManifestError
from fleet_contract.manifest_record import Record as Record
from fleet_contract.model_tensors import TOKEN_TENSORS, check_tensor
from fleet_contract.model_tensors import Tensor as Tensor
from fleet_contract.model_tensors import Tokens as Tokens
from fleet_contract.provenance import Provenance as Provenance
from fleet_contract.provenance import check_licence, check_provenance
from fleet_contract.reasons import Reason
from fleet_contract.requirements import Requirements as Requirements
from fleet_contract.requirements import check_requirements
from fleet_contract.tensors import TensorSample, misfit
from fleet_contract.topics import check_name

SCHEMA: Final = 1
MANIFEST_NAME: Final = "model.toml"
MAX_TOKENS: Final = 8192
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?")
VARIANT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ENTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Runtime(StrEnum):
    """What runs the model file."""

    ONNX = "onnx"
    TFLITE = "tflite"


NOT_RUN: Final = {
    "executorch": "executorch is not run on devices, as its Python runtime needs PyTorch; export the model to ONNX"
}
"""Runtimes that people ask for to why they are none."""


class InputKind(StrEnum):
    """What the model is asked about: a window of readings, one text, or raw tensors by their names."""

    WINDOW = "window"
    TEXT = "text"
    TENSOR = "tensor"


class Pooling(StrEnum):
    """How an output for each token becomes one for the text."""

    NONE = "none"
    MEAN = "mean"
    """The mean over the text's tokens, without padding."""
    CLS = "cls"
    """The first token's."""


class Activation(StrEnum):
    """What is done to the numbers of the last dimension."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Feature(Record, frozen=True, kw_only=True):
    """One feature: an operation on one input of the window, or on the text. Results are joined in order into a vector.

    The operations, their arguments and the shapes they give are listed in `fleet_contract/features.py` and docs/features.md.
    """

    op: str
    input: str | None = None
    """The name of the window's input (a key of `inputs`); none for operations on text."""
    args: dict[str, Any] = msgspec.field(default_factory=dict)


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


class Manifest(Record, frozen=True, kw_only=True):
    """`model.toml` of a bundle."""

    schema: int
    name: str
    version: str
    variant: str | None = None
    """What this build of the version is, such as `int8`; needed where a release has several."""
    description: str = ""
    task: str
    """`classification`, `regression` or `anomaly`."""
    runtime: Runtime
    file: str
    """The model file's entry in the bundle."""
    golden: str
    """The golden samples' entry in the bundle: JSON, an array of `GoldenSample`."""
    kind: InputKind
    window: int = 1
    """How many events the model was trained on; the least number that a window must hold to be scored."""
    inputs: tuple[WindowInput, ...] = ()
    features: tuple[Feature, ...] = ()
    scaling: Scaling | None = None
    input_tensor: Tensor | None = None
    """What the features fill; every size behind the batch is fixed."""
    input_tensors: tuple[Tensor, ...] = ()
    """What a model takes that is not fed by features: the tokens of a text, or raw tensors. One of the two keys is needed."""
    baseline: str | None = None
    """The baseline's entry in the bundle: JSON, a `Baseline` (`fleet_contract/baseline.py`)."""
    tokenizer: str | None = None
    """The tokenizer's entry in the bundle, as the package tokenizers writes it; for kind `text` with `input_tensors`."""
    tokens: Tokens = Tokens()
    output_tensor: Tensor
    """Scores, shape (batch, labels) or (batch, 1); (batch, tokens, width) where `pooling` takes the tokens together. Of kind
    `tensor` any shape, in which sizes may be free."""
    pooling: Pooling = Pooling.NONE
    activation: Activation = Activation.NONE
    """Done after `pooling`."""
    normalise: bool = False
    """Whether the numbers of the last dimension are at last divided by their Euclidean length."""
    labels: tuple[str, ...] = ()
    decision: Decision = Decision()
    requirements: Requirements = Requirements()
    licence: str
    """SPDX expression."""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    """On held-out data."""
    metrics_data: str = ""
    """Which data, and how it was held out; needed where there are metrics."""
    trained_on: str = ""
    provenance: Provenance = Provenance()

    @property
    def entries(self) -> tuple[str, ...]:
        """The bundle's entries beside the manifest."""
        return tuple(name for name in (self.file, self.golden, self.tokenizer, self.baseline) if name is not None)

    @property
    def file_inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the model file, whichever key names them."""
        return self.input_tensors if self.input_tensor is None else (self.input_tensor,)

    @property
    def width(self) -> int | None:
        """How many scores an answer has; None where the output's size is free."""
        sizes = self.output_tensor.shape[-1:] if self.pooling is not Pooling.NONE else self.output_tensor.shape[1:]
        return None if -1 in sizes else math.prod(sizes)

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
        if self.variant is not None and not VARIANT.fullmatch(self.variant):
            raise ManifestError(f"variant: {self.variant!r} is not of a-z, 0-9 and -, up to 32")
        self._check_entries()
        names = [item.name for item in self.inputs]
        if len(set(names)) != len(names):
            raise ManifestError("inputs: a name stands twice")
        if self.window < 1:
            raise ManifestError("window: at least 1")
        if len(set(self.labels)) != len(self.labels):
            raise ManifestError("labels: a label stands twice")
        if (self.input_tensor is None) == (not self.input_tensors):
            raise ManifestError("input_tensor: either this or input_tensors is needed")
        if self.kind is InputKind.WINDOW and not self.inputs:
            raise ManifestError("inputs: a model on windows needs at least one")
        if self.kind is not InputKind.WINDOW and self.inputs:
            raise ManifestError(f"inputs: a model of kind {self.kind} has none")
        if self.input_tensor is not None:
            self._check_features(self.input_tensor, names)
        else:
            self._check_input_tensors()
        self._check_output()
        if self.decision.label is not None and self.decision.label not in self.labels:
            raise ManifestError(f"decision.label: {self.decision.label!r} is not one of labels")
        self._check_claims()

    def _check_claims(self) -> None:
        check_requirements(self.requirements, self.runtime.value)
        check_licence(self.licence)
        check_provenance(self.provenance)
        if self.metrics and not self.metrics_data.strip():
            raise ManifestError("metrics_data: metrics need the data they were measured on", Reason.METRICS_WITHOUT_DATA)
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise ManifestError("metrics: a number that is not finite")

    def _check_entries(self) -> None:
        entries = [("file", self.file), ("golden", self.golden)]
        if self.tokenizer is not None:
            entries.append(("tokenizer", self.tokenizer))
        if self.baseline is not None:
            entries.append(("baseline", self.baseline))
        taken = {MANIFEST_NAME}
        for key, entry in entries:
            if not _ENTRY.fullmatch(entry) or entry == MANIFEST_NAME:
                raise ManifestError(f"{key}: {entry!r} is not a plain file name")
            if entry in taken:
                raise ManifestError(f"{key}: {entry!r} is another entry already")
            taken.add(entry)

    def _check_features(self, tensor: Tensor, names: list[str]) -> None:
        if self.kind is InputKind.TENSOR:
            raise ManifestError("input_tensor: a model of kind tensor has input_tensors")
        if self.tokenizer is not None:
            raise ManifestError("tokenizer: only a model with input_tensors has one")
        if not self.features:
            raise ManifestError("features: at least one is needed")
        for position, feature in enumerate(self.features):
            if feature.input is not None and feature.input not in names:
                raise ManifestError(f"features[{position}].input: {feature.input!r} is not one of inputs")
        given = self._features_width()
        check_tensor("input_tensor", tensor, free=False)
        taken = math.prod(tensor.shape[1:])
        if given != taken:
            raise ManifestError(f"input_tensor.shape: takes {taken} values, but the features give {given}")
        if self.scaling is not None:
            width = tensor.shape[-1]
            if len(self.scaling.mean) != width or len(self.scaling.scale) != width:
                raise ManifestError(f"scaling: mean and scale need {width} values, as input_tensor has")
            if any(value == 0 for value in self.scaling.scale):
                raise ManifestError("scaling.scale: a zero")

    def _check_input_tensors(self) -> None:
        if self.features or self.scaling is not None:
            raise ManifestError("features: they and scaling fill input_tensor, not input_tensors")
        if self.kind is InputKind.WINDOW:
            raise ManifestError("input_tensors: a model on windows has input_tensor, which its features fill")
        names = [tensor.name for tensor in self.input_tensors]
        if len(set(names)) != len(names):
            raise ManifestError("input_tensors: a name stands twice")
        for position, tensor in enumerate(self.input_tensors):
            check_tensor(f"input_tensors[{position}]", tensor, free=True)
        if (self.tokenizer is None) == (self.kind is InputKind.TEXT):
            raise ManifestError("tokenizer: needed by, and only by, a model of kind text with input_tensors")
        if self.kind is InputKind.TEXT:
            self._check_tokens(names)

    def _check_tokens(self, names: list[str]) -> None:
        if not 1 <= self.tokens.max_length <= MAX_TOKENS:
            raise ManifestError(f"tokens.max_length: 1 to {MAX_TOKENS}")
        if TOKEN_TENSORS[0] not in names or not set(names) <= set(TOKEN_TENSORS):
            known = ", ".join(TOKEN_TENSORS[1:])
            raise ManifestError(f"input_tensors: a tokenizer fills {TOKEN_TENSORS[0]} and, if they are there, {known}")
        for position, tensor in enumerate(self.input_tensors):
            if len(tensor.shape) != 2 or tensor.shape[1] not in (-1, self.tokens.max_length):
                raise ManifestError(f"input_tensors[{position}].shape: batch and tokens, -1 or tokens.max_length of them")
            if tensor.dtype not in ("int32", "int64"):
                raise ManifestError(f"input_tensors[{position}].dtype: tokens are int32 or int64")

    def _check_output(self) -> None:
        shape = self.output_tensor.shape
        if self.task == "regression" and self.output_tensor.unit is None:
            raise ManifestError("output_tensor.unit: a regression says what its number is in")
        pooled = self.pooling is not Pooling.NONE
        check_tensor("output_tensor", self.output_tensor, free=pooled or self.kind is InputKind.TENSOR)
        if pooled:
            if self.tokenizer is None:
                raise ManifestError("pooling: only a model with a tokenizer has tokens to pool")
            if len(shape) != 3 or shape[-1] < 1:
                raise ManifestError("output_tensor.shape: pooling takes (batch, tokens, a fixed width)")
        if self.labels and self.width != len(self.labels):
            scores = "a free number of" if self.width is None else self.width
            raise ManifestError(f"output_tensor.shape: {scores} scores, but {len(self.labels)} labels")

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


_PARTS: Final[dict[str, type[msgspec.Struct]]] = {
    "decision": Decision,
    "features": Feature,
    "input_tensor": Tensor,
    "input_tensors": Tensor,
    "inputs": WindowInput,
    "output_tensor": Tensor,
    "provenance": Provenance,
    "requirements": Requirements,
    "scaling": Scaling,
    "tokens": Tokens,
}


def parse_manifest(data: bytes) -> Manifest:
    """Parse and check `model.toml`; raises ManifestError naming the key."""
    try:
        table = tomllib.loads(data.decode("utf-8"))
        if (why := NOT_RUN.get(str(table.get("runtime")))) is not None:
            raise ManifestError(f"{MANIFEST_NAME}: runtime: {why}")
        manifest = msgspec.convert(table, Manifest, strict=True)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{MANIFEST_NAME}: {explain_key(str(error), Manifest, _PARTS)}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ManifestError(f"{MANIFEST_NAME}: {error}") from error
    manifest.check()
    return manifest


def find_misfit(
    manifest: Manifest, window: Mapping[str, object], text: str | None, tensors: Mapping[str, TensorSample]
) -> str | None:
    """Why a sample is not what the model is asked about, or None."""
    kind = manifest.kind
    if kind is InputKind.TEXT and (text is None or window or tensors):
        return f"{manifest.name} is asked about texts: `text` and no window or tensors is needed"
    names = sorted(item.name for item in manifest.inputs)
    if kind is InputKind.WINDOW and (sorted(window) != names or text is not None or tensors):
        return f"window: needs exactly {', '.join(names)}"
    if kind is InputKind.TENSOR:
        names = sorted(item.name for item in manifest.input_tensors)
        if sorted(tensors) != names or window or text is not None:
            return f"tensors: needs exactly {', '.join(names)}"
        for wanted in manifest.input_tensors:
            sample = tensors[wanted.name]
            wrong = misfit(sample.dtype, sample.shape, wanted.dtype, wanted.shape)
            if wrong is not None:
                return f"tensors.{wanted.name}: {wrong}"
    return None


class GoldenSample(Record, frozen=True, kw_only=True):
    """One input with the answer that the model must give: raw window, text or tensors in, scores out."""

    window: dict[str, tuple[float | None, ...]] = msgspec.field(default_factory=dict)
    """Input name to its values, oldest first; for a model on windows."""
    times: tuple[float, ...] = ()
    """Event times in seconds since 1970, one for each value; empty where no feature needs them."""
    text: str | None = None
    tensors: dict[str, TensorSample] = msgspec.field(default_factory=dict)
    """Tensor name to its content; for a model of kind tensor."""
    scores: tuple[float, ...]
    """In C order, where the output has several dimensions."""
    tolerance: float = 1e-3
    """Largest absolute difference of a score."""


def _bad_golden(text: str) -> ManifestError:
    return ManifestError(text, Reason.GOLDEN_INVALID)


def parse_golden(data: bytes, manifest: Manifest) -> tuple[GoldenSample, ...]:
    """Parse the golden samples (a JSON array) and check them against the manifest; raises ManifestError."""
    try:
        samples = msgspec.json.decode(data, type=tuple[GoldenSample, ...])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_golden(f"{manifest.golden}: {error}") from error
    if not samples:
        raise _bad_golden(f"{manifest.golden}: at least one golden sample is needed")
    width = manifest.width
    for position, sample in enumerate(samples):
        where = f"{manifest.golden}[{position}]"
        wrong = find_misfit(manifest, sample.window, sample.text, sample.tensors)
        if wrong is not None:
            raise _bad_golden(f"{where}.{wrong}" if wrong.startswith(("window:", "tensors")) else f"{where}: {wrong}")
        if not sample.scores or (width is not None and len(sample.scores) != width):
            raise _bad_golden(f"{where}.scores: {len(sample.scores)}, but the model gives {width or 'at least one'}")
    return samples
