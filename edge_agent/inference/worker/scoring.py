"""From the items of one batch to the answer: feeds, model, postprocessing; a faulty item costs itself alone."""

import numpy as np

from edge_agent.inference import protocol
from edge_agent.inference.backends import port
from edge_agent.inference.protocol import Buffer, Load, Run, Scores, TensorPart
from edge_agent.inference.worker.feature_feeds import FeatureFeeds
from edge_agent.inference.worker.feeds import Faults, Group, ToFeeds
from edge_agent.inference.worker.postprocess import Rows, postprocess
from edge_agent.inference.worker.tensor_feeds import TensorFeeds
from edge_agent.inference.worker.tokens import TokenFeeds

_LATE = (protocol.DEADLINE_EXCEEDED, "the runtime was told to stop at the deadline")


class Scorer:
    """One loaded model with its preprocessing. Raises BackendError when features, tensors and file do not fit each other."""

    def __init__(self, load: Load, model: bytes, tokenizer: bytes = b"") -> None:
        self._given = load.output_tensor
        self._to_feeds = _to_feeds(load, tokenizer)
        self._raw = isinstance(self._to_feeds, TensorFeeds)
        self._postprocess = postprocess(load)
        sizes = load.output_tensor.shape[1:] if load.pooling == "none" else load.output_tensor.shape[-1:]
        self._width = int(np.prod(sizes))
        self.backend = port.load(load, model)
        self._cancelled = False
        _require_version(load, self.backend.version)

    def cancel(self) -> None:
        """End the batch under way, from another thread: what is not scored yet becomes a fault."""
        self._cancelled = True
        self.backend.cancel()

    def answer(self, run: Run, body: bytes) -> tuple[Scores, list[Buffer]]:
        """The answer to a batch, and its body in parts."""
        self._cancelled = False
        groups, faults = self._to_feeds(run, body)
        results: list[tuple[list[int], Rows]] = []
        for group in groups:
            self._infer(group, results, faults)
        for positions, rows in results:
            finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
            for row in np.flatnonzero(~finite):
                first = rows[row].reshape(-1)[:8].tolist()
                faults[positions[row]] = (protocol.BAD_OUTPUT, f"not all scores are finite: {first}")
        if self._raw:
            return _tensors(run, results, faults)
        scores = np.zeros((len(run.lengths), self._width), "<f8")
        for positions, rows in results:
            scores[positions] = rows.reshape(len(rows), -1)
        return Scores(number=run.number, width=self._width, faults=faults), [scores.data]

    def _infer(self, group: Group, results: list[tuple[list[int], Rows]], faults: Faults) -> None:
        """Add the rows of a group to `results`. Where it fails, its items are tried one by one."""
        trouble = ""
        if not self._cancelled:
            try:
                rows = port.score(self.backend, group.feeds, self._given)
                results.append((group.positions, self._postprocess(rows, group.mask)))
                return
            except Exception as error:  # noqa: BLE001  whatever a runtime raises is a fault of these items, and reported as such
                trouble = str(error)
        if self._cancelled:
            faults.update((position, _LATE) for position in group.positions)
        elif len(group) == 1:
            faults[group.positions[0]] = (protocol.BAD_OUTPUT, f"the model gave no scores: {trouble}")
        else:
            for row in range(len(group)):
                self._infer(group.single(row), results, faults)


def _to_feeds(load: Load, tokenizer: bytes) -> ToFeeds:
    if load.tokenizer is not None:
        return TokenFeeds(load, tokenizer)
    return FeatureFeeds(load) if load.features else TensorFeeds(load)


def _tensors(run: Run, results: list[tuple[list[int], Rows]], faults: Faults) -> tuple[Scores, list[Buffer]]:
    """Each item's output as it is, in the dtype of the file."""
    given = {position: row for positions, rows in results for position, row in zip(positions, rows)}  # noqa: B905
    outputs: list[TensorPart] = []
    parts: list[Buffer] = []
    for position in range(len(run.lengths)):
        if position in faults:
            outputs.append(TensorPart("", "uint8", (0,), 0))
            continue
        row = np.ascontiguousarray(given[position], given[position].dtype.newbyteorder("<"))
        outputs.append(TensorPart("", row.dtype.name, row.shape, row.nbytes))
        parts.append(row.reshape(-1).view(np.uint8).data)
    return Scores(number=run.number, width=0, faults=faults, outputs=outputs), parts


LITERT = "ai-edge-litert"


def _require_version(load: Load, version: str) -> None:
    package, _, number = version.rpartition(" ")
    if package == LITERT:
        return  # it followed TensorFlow Lite under numbers of its own, and reads every file that the last of those did
    if load.runtime_max is not None:
        top = _numbers(load.runtime_max)
        if _numbers(number)[: len(top)] > top:
            raise port.BackendError(
                protocol.INCOMPATIBLE, f"the model needs {load.runtime} {load.runtime_max} or older, installed is {version}"
            )
    if load.runtime_min is not None and _numbers(number) < _numbers(load.runtime_min):
        raise port.BackendError(
            protocol.INCOMPATIBLE, f"the model needs {load.runtime} {load.runtime_min} or newer, installed is {version}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())
