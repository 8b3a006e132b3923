"""What numbers go through a model: mean and spread of its inner tensors over inputs of calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

Feeds = Mapping[str, NDArray[Any]]
"""Input tensor's name to its values, batch included."""
_ERRORS_ONLY: Final = 3  # log severity


@dataclass(frozen=True, slots=True)
class Activity:
    """Of one tensor, for each position of its last dimension."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    """Standard deviation."""


def measure_activity(model: ModelProto, tensors: Sequence[str], calibration: Sequence[Feeds]) -> dict[str, Activity]:
    """Run the model over `calibration` and look at its inner `tensors`, which are float32."""
    watched = ModelProto()
    watched.CopyFrom(model)
    outputs = {item.name for item in model.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in outputs
    )
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    counts, sums, squares = dict.fromkeys(tensors, 0), dict[str, Any](), dict[str, Any]()
    for feeds in calibration:
        for name, values in zip(tensors, session.run(list(tensors), dict(feeds)), strict=True):
            rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
            counts[name] += len(rows)
            sums[name] = sums.get(name, 0.0) + rows.sum(axis=0)
            squares[name] = squares.get(name, 0.0) + (rows**2).sum(axis=0)
    found = {}
    for name in tensors:
        mean = sums[name] / counts[name]
        found[name] = Activity(mean, np.sqrt(np.maximum(squares[name] / counts[name] - mean**2, 0.0)))
    return found
