"""Which execution provider of ONNX Runtime runs a model: the names, and the rules by which one is said to run it. No I/O."""

import re
from collections.abc import Iterable, Mapping

CPU = "CPUExecutionProvider"
PROVIDERS: Mapping[str, str] = {
    "cpu": CPU,
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "armnn": "ArmNNExecutionProvider",
    "acl": "ACLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "rknpu": "RknpuExecutionProvider",
    "vsinpu": "VSINPUExecutionProvider",
    "cann": "CANNExecutionProvider",
    "vitisai": "VitisAIExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""A name as `require` has it to the runtime's own. The one that sends tensors to a service is left out on purpose."""
COMPANIONS: Mapping[str, tuple[str, ...]] = {"tensorrt": ("cuda",), "migraphx": ("rocm",)}
"""Providers that take what another one leaves, before the CPU does; they do not make that other one count as working."""

LEAST_SHARE = 0.5
"""Of the computing nodes, that a required provider has to run."""
BOOKKEEPING = frozenset(
    (
        *("Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity"),
        *("Range", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Unsqueeze"),
    )
)
"""Operators that make, cut and join shapes: runtimes keep those of small integer tensors on the CPU on purpose."""

Node = tuple[str, str]
"""(provider, operator type)."""

_PLACED = re.compile(r"(?:All nodes|Node\(s\)) placed on \[(\w+)\]\. Number of nodes: (\d+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MOST_TEXT = 300


def shares(nodes: Iterable[Node]) -> dict[str, float]:
    """Provider to its share of all nodes, 0 to 1, the largest first."""
    counts: dict[str, int] = {}
    for provider, _ in nodes:
        counts[provider] = counts.get(provider, 0) + 1
    return _to_shares(counts)


def computing_share(nodes: Iterable[Node], provider: str, bookkeeping: frozenset[str] = BOOKKEEPING) -> float:
    """The share of the nodes that compute which `provider` runs; of all nodes, where none computes."""
    placed = list(nodes)
    asked = [item for item in placed if item[1] not in bookkeeping] or placed
    return sum(item[0] == provider for item in asked) / len(asked) if asked else 0.0


def provider_options(name: str, engine_cache: str | None) -> dict[str, str]:
    """What a provider is started with; `engine_cache` is a folder for what it compiles, None for none."""
    if name != "tensorrt" or engine_cache is None:
        return {}
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": engine_cache,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": engine_cache,
    }


def read_placement_log(text: str) -> dict[str, float]:
    """The same as `shares`, from what a runtime before 1.24 logs, where a fused part of the graph is one node."""
    counts: dict[str, int] = {}
    for provider, count in _PLACED.findall(text):
        counts[provider] = counts.get(provider, 0) + int(count)
    return _to_shares(counts)


def first_error(text: str) -> str:
    """The first line of a native library's output that tells of an error, without its colours and source file."""
    for line in _COLOUR.sub("", text).splitlines():
        if "error" in line.lower() or "fail" in line.lower():
            told = line.rpartition("with error: ")[2] if "with error: " in line else line.partition("] ")[2] or line
            return told.strip()[:MOST_TEXT]
    return ""


def _to_shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items(), key=lambda item: -item[1])} if total else {}
