"""A bundle tried on a data set: the lines of the data set, and what the agent's code reports of the bundle.

`fleet model optimize` writes the question, `python -m edge_agent.inference.evaluate` answers it. Neither program imports the
other, so what both must know stands here.
"""

from typing import Final

import msgspec
from msgspec import Struct

from fleet_contract.manifest import Manifest, Record, find_misfit
from fleet_contract.tensors import TensorSample

NO_LABEL: Final = "none"
"""The right answer of a model with a single label where that label does not hold."""


class DataSetError(ValueError):
    """A line of a data set cannot be used; the text names file, line and what is wrong."""


class DataSample(Struct, frozen=True, kw_only=True):
    """One line of a data set, in the form of a golden sample. Other keys (language, source, …) are left alone."""

    window: dict[str, tuple[float | None, ...]] = {}
    """Input name to its values, oldest first; for a model on windows."""
    times: tuple[float, ...] = ()
    """Event times in seconds since 1970, one for each value."""
    text: str | None = None
    tensors: dict[str, TensorSample] = {}
    """Tensor name to its content; for a model of kind tensor."""
    label: str | None = None
    """The right label; `none` where a model with a single label should say no. Of a model without labels, such as a text
    encoder: any word; texts of one label should lie near each other.
    """
    scores: tuple[float, ...] | None = None
    """The right values of a regression, or the right scores of a classification."""


class Evaluation(Record, frozen=True, kw_only=True):
    """What became of one bundle. Times in seconds, sizes in bytes."""

    failed: tuple[str, str] | None = None
    """Reason code and text if the bundle could not be loaded; then nothing below is filled in."""
    golden: tuple[str, str] | None = None
    """Reason code and text of the first golden sample that is not met."""
    golden_difference: float | None = None
    """The largest difference of a score from its golden sample; None where a sample got no scores."""
    scores: tuple[tuple[float, ...] | None, ...] = ()
    """For each sample of the data set."""
    faults: tuple[tuple[int, str, str], ...] = ()
    """Position of a sample that got no scores, reason code and text."""
    latency_p50: float = 0.0
    """Of the model alone, one item at a time, on one thread."""
    latency_p95: float = 0.0
    runs: int = 0
    """How many were timed."""
    start_bytes: int = 0
    """Proportional memory (PSS) of the process before the runtime was loaded."""
    memory_bytes: int = 0
    """Proportional memory (PSS) after the timed runs."""
    peak_bytes: int = 0
    """The most that was resident (RSS) until then, loading included."""
    broken: tuple[str, str] | None = None
    """Reason code and text of the first promise of the manifest that was not kept here."""
    provider: str = ""
    runtime_version: str = ""


def parse_data_set(data: bytes, manifest: Manifest, name: str) -> tuple[DataSample, ...]:
    """The samples of JSON lines, each checked against the manifest; `name` is how errors call the file.

    Raises DataSetError.
    """
    samples = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            sample = msgspec.json.decode(line, type=DataSample)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataSetError(f"{name}, line {number}: {error}") from error
        wrong = _wrong_with(sample, manifest)
        if wrong is not None:
            raise DataSetError(f"{name}, line {number}: {wrong}")
        samples.append(sample)
    if not samples:
        raise DataSetError(f"{name}: no sample in it")
    return tuple(samples)


def _wrong_with(sample: DataSample, manifest: Manifest) -> str | None:
    wrong = find_misfit(manifest, sample.window, sample.text, sample.tensors)
    if wrong is not None:
        return wrong
    known = (*manifest.labels, NO_LABEL) if len(manifest.labels) == 1 else manifest.labels
    if sample.label is not None and known and sample.label not in known:
        return f"label: {sample.label!r} is none of {', '.join(known)}"
    width = manifest.width
    if sample.scores is not None and width is not None and len(sample.scores) != width:
        return f"scores: {len(sample.scores)}, but the model gives {width}"
    return None
