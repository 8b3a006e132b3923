"""ONNX Runtime behind the port: loaded from bytes, sequential, without spinning threads and without telemetry."""

import os
from typing import Any

from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends.native_output import NativeOutput
from edge_agent.inference.backends.onnx_file import check_onnx_file
from edge_agent.inference.backends.port import BackendError, Cancelled, Feeds, check_tensor, degrade_or_fail
from edge_agent.inference.backends.providers import (
    COMPANIONS,
    CPU,
    LEAST_SHARE,
    MOST_TEXT,
    PROVIDERS,
    computing_share,
    first_error,
    provider_options,
    read_placement_log,
    shares,
)
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
# Log severities. An error is raised with the same text, and a line for each bad input would fill the journal.
_FATAL_ONLY, _EVERYTHING = 4, 0


class OnnxBackend:
    """One ONNX session, on the first required execution provider that works."""

    def __init__(self, load: Load, model: bytes) -> None:
        check_onnx_file(model)
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(
                protocol.RUNTIME_MISSING, f"onnxruntime cannot be imported ({error}); install the extra smallhold[onnx]"
            ) from error
        onnxruntime.disable_telemetry_events()
        self._runtime = onnxruntime
        self.version: str = onnxruntime.__version__
        self.degraded: str | None = None
        self._start(load, model)
        # The runtime's Python layer keeps them to start again with other providers, which is never wanted here.
        self._session._model_bytes = None
        inputs = {item.name: item for item in self._session.get_inputs()}
        outputs = {item.name: item for item in self._session.get_outputs()}
        wanted = {item.name: item for item in load.input_tensors}
        given = load.output_tensor
        if set(inputs) != set(wanted):
            raise BackendError(
                protocol.TENSOR_MISMATCH, f"the file's inputs are {sorted(inputs)}, the manifest's are {sorted(wanted)}"
            )
        if given.name not in outputs:
            raise BackendError(
                protocol.TENSOR_MISMATCH, f"the file's outputs are {sorted(outputs)}, the manifest's is {given.name!r}"
            )
        fixed = {check_tensor("input", wanted[name], _dtype(item.type), tuple(item.shape)) for name, item in inputs.items()}
        self.max_batch: int | None = max((size for size in fixed if size is not None), default=None)
        result = outputs[given.name]
        check_tensor("output", given, _dtype(result.type), tuple(result.shape))
        self._output = [given.name]
        self._dtypes = {name: item.dtype for name, item in wanted.items()}
        self._options = self._run_options()

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """See the port."""
        typed = {name: values.astype(self._dtypes[name], copy=False) for name, values in feeds.items()}
        if self._options.terminate:  # a cancel may come when its run is over already
            self._options = self._run_options()
        options = self._options
        try:
            raw: NDArray[Any] = self._session.run(self._output, typed, options)[0]
        except Exception as error:
            if options.terminate:
                raise Cancelled("ONNX Runtime was told to stop") from error
            raise
        return raw

    def cancel(self) -> None:
        """See the port."""
        self._options.terminate = True

    def _start(self, load: Load, model: bytes) -> None:
        troubles = [f"{name}: ONNX Runtime has execution providers, no delegates" for name in load.delegates]
        for name in load.require:
            trouble = self._open_on(name, load, model)
            if trouble is None:
                return
            troubles.append(f"{name}: {trouble}")
        # First, so that a model which nothing can load is refused as that.
        self._open_on("cpu", load, model)
        self.degraded = degrade_or_fail(load, troubles)

    def _open_on(self, name: str, load: Load, model: bytes) -> str | None:
        """Open the session on a provider and keep it, or say why that is not possible."""
        if name == "cpu":
            try:
                self._session = self._open(self._session_options(load), model, [CPU])
            except Exception as error:
                raise BackendError(protocol.LOAD_FAILED, f"ONNX Runtime could not load the model: {error}") from error
            self.provider, self.placement = CPU, {CPU: 1.0}  # nothing else is registered
            return None
        provider = PROVIDERS.get(name)
        if provider is None:
            return "no such execution provider"
        available = self._runtime.get_available_providers()
        if provider not in available:
            return f"onnxruntime {self.version} is built without it"
        options = self._session_options(load)
        tells = hasattr(self._runtime.InferenceSession, "get_provider_graph_assignment_info")
        if tells:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        else:
            options.log_severity_level = _EVERYTHING
        companions = [PROVIDERS[other] for other in COMPANIONS.get(name, ()) if PROVIDERS[other] in available]
        try:
            with NativeOutput() as output:
                settings = provider_options(name, load.engine_cache)
                if settings and load.engine_cache is not None:
                    os.makedirs(load.engine_cache, exist_ok=True)
                session = self._open(options, model, [(provider, settings), *companions, CPU])
        except Exception as error:  # noqa: BLE001  whatever a provider raises is why the next one is tried
            return f"did not start: {first_error(output.text) or str(error).strip()[:MOST_TEXT]}"
        if provider not in session.get_providers():
            return f"did not start: {first_error(output.text) or 'the runtime does not say why'}"
        if tells:
            parts = session.get_provider_graph_assignment_info()
            nodes = [(part.ep_name, node.op_type) for part in parts for node in part.get_nodes()]
            placement, share = shares(nodes), computing_share(nodes, provider)
            if share < LEAST_SHARE:
                return f"takes {share:.0%} of the nodes that compute"
        else:
            placement = read_placement_log(output.text)
            if provider not in placement:
                return "takes none of the nodes"
        self._session, self.provider, self.placement = session, provider, placement
        return None

    def _open(self, options: Any, model: bytes, providers: list[Any]) -> Any:
        # The runtime's own fallback would print a line and go on with the CPU.
        session = self._runtime.InferenceSession(
            model, options, providers=providers, enable_fallback=0, read_config_from_model=0
        )
        session.disable_fallback()
        return session

    def _session_options(self, load: Load) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = load.threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._runtime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _FATAL_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(load.spin)))
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # Bytes that begin like the runtime's own format would else be read as that, past the check of the file.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        return options

    def _run_options(self) -> Any:
        options = self._runtime.RunOptions()
        options.log_severity_level = _FATAL_ONLY  # whatever the session's is
        return options


def _dtype(name: str) -> str:
    return _DTYPES.get(name, name)
