"""Runs a model file with the runtime that the manifest names, as a device's worker does."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_contract.manifest import Manifest, Runtime

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Matrix = NDArray[np.float32]


def run_model(manifest: Manifest, model: bytes, inputs: Matrix) -> Matrix:
    """The scores for a batch of scaled feature vectors, shape (batch, width) in and (batch, labels or 1) out."""
    if manifest.runtime is Runtime.ONNX:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run([manifest.output_tensor.name], {manifest.input_tensor.name: inputs})[0])
    interpreter = _interpreter(model)
    tensor = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(tensor, inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(tensor, inputs)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def _interpreter(model: bytes) -> Any:
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        from ai_edge_litert.interpreter import Interpreter
    return Interpreter(model_content=model, num_threads=1)
