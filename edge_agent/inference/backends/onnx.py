"""ONNX Runtime behind the port: loaded from bytes, sequential, without spinning threads and without telemetry."""

from typing import Any

from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends.onnx_file import check_onnx_file
from edge_agent.inference.backends.port import BackendError, check_tensor
from edge_agent.inference.protocol import TensorSpec

_DTYPES: dict[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_ERRORS_ONLY = 3  # log severity


class OnnxBackend:
    """One ONNX session."""

    def __init__(self, model: bytes, wanted: TensorSpec, given: TensorSpec, threads: int) -> None:
        check_onnx_file(model)
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(
                protocol.RUNTIME_MISSING, f"onnxruntime cannot be imported ({error}); install the extra smallhold[onnx]"
            ) from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BackendError(protocol.LOAD_FAILED, f"ONNX Runtime could not load the model: {error}") from error
        self.provider: str = self._session.get_providers()[0]
        self.version: str = onnxruntime.__version__
        inputs = {item.name: item for item in self._session.get_inputs()}
        outputs = {item.name: item for item in self._session.get_outputs()}
        if set(inputs) != {wanted.name}:
            raise BackendError(
                protocol.MANIFEST_INVALID, f"the file's inputs are {sorted(inputs)}, the manifest's is {wanted.name!r}"
            )
        if given.name not in outputs:
            raise BackendError(
                protocol.MANIFEST_INVALID, f"the file's outputs are {sorted(outputs)}, the manifest's is {given.name!r}"
            )
        source, result = inputs[wanted.name], outputs[given.name]
        self.max_batch: int | None = check_tensor("input", wanted, _dtype(source.type), tuple(source.shape))
        check_tensor("output", given, _dtype(result.type), tuple(result.shape))
        self._input, self._output, self._dtype = wanted.name, given.name, wanted.dtype

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See the port."""
        raw: NDArray[Any] = self._session.run([self._output], {self._input: batch.astype(self._dtype, copy=False)})[0]
        return raw


def _dtype(name: str) -> str:
    return _DTYPES.get(name, name)
