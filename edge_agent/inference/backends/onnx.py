"""ONNX Runtime behind the port: loaded from bytes, sequential, without spinning threads and without telemetry."""

from typing import Any

from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends.onnx_file import check_onnx_file
from edge_agent.inference.backends.port import BackendError, Feeds, check_tensor
from edge_agent.inference.protocol import Load

_DTYPES: dict[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}
_ERRORS_ONLY = 3  # log severity


class OnnxBackend:
    """One ONNX session."""

    def __init__(self, load: Load, model: bytes) -> None:
        check_onnx_file(model)
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(
                protocol.RUNTIME_MISSING, f"onnxruntime cannot be imported ({error}); install the extra smallhold[onnx]"
            ) from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = load.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(load.spin)))
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BackendError(protocol.LOAD_FAILED, f"ONNX Runtime could not load the model: {error}") from error
        self.provider: str = self._session.get_providers()[0]
        self.placement: dict[str, float] = {self.provider: 1.0}
        self.degraded: str | None = None
        self.version: str = onnxruntime.__version__
        inputs = {item.name: item for item in self._session.get_inputs()}
        outputs = {item.name: item for item in self._session.get_outputs()}
        wanted = {item.name: item for item in load.input_tensors}
        given = load.output_tensor
        if set(inputs) != set(wanted):
            raise BackendError(
                protocol.MANIFEST_INVALID, f"the file's inputs are {sorted(inputs)}, the manifest's are {sorted(wanted)}"
            )
        if given.name not in outputs:
            raise BackendError(
                protocol.MANIFEST_INVALID, f"the file's outputs are {sorted(outputs)}, the manifest's is {given.name!r}"
            )
        fixed = {check_tensor("input", wanted[name], _dtype(item.type), tuple(item.shape)) for name, item in inputs.items()}
        self.max_batch: int | None = max((size for size in fixed if size is not None), default=None)
        result = outputs[given.name]
        check_tensor("output", given, _dtype(result.type), tuple(result.shape))
        self._output = [given.name]
        self._dtypes = {name: item.dtype for name, item in wanted.items()}
        self._options = onnxruntime.RunOptions()

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """See the port."""
        typed = {name: values.astype(self._dtypes[name], copy=False) for name, values in feeds.items()}
        raw: NDArray[Any] = self._session.run(self._output, typed, self._options)[0]
        return raw

    def cancel(self) -> None:
        """See the port."""
        self._options.terminate = True


def _dtype(name: str) -> str:
    return _DTYPES.get(name, name)
