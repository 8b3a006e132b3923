"""What a model needs of a device, as its maker says: runtime, memory, disk, accelerators, and how fast it promises to be."""

import re
from typing import Final

from fleet_contract.manifest_record import ManifestError, Record
from fleet_contract.reasons import Reason

_NUMBERS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
ONNX_ACCELERATORS: Final = frozenset(
    (
        *("acl", "armnn", "cann", "coreml", "cpu", "cuda", "dnnl", "migraphx", "nnapi", "openvino", "qnn"),
        *("rknpu", "rocm", "tensorrt", "vitisai", "vsinpu", "webgpu", "xnnpack"),
    )
)
"""Execution providers of ONNX Runtime, in the names that the device's configuration has for them."""
TFLITE_ACCELERATORS: Final = frozenset(("cpu", "xnnpack", "edgetpu", "gpu", "nnapi", "armnn", "hexagon", "vx", "ethosu"))
"""Delegates of TensorFlow Lite that a device may have."""
ACCELERATORS: Final = {"onnx": ONNX_ACCELERATORS, "tflite": TFLITE_ACCELERATORS}
FIRST_RUNTIME: Final = {17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18"}
"""ONNX opset to the first ONNX Runtime that has all of it: https://onnxruntime.ai/docs/reference/compatibility.html"""


class Requirements(Record, frozen=True, kw_only=True):
    """What the device must have. Sizes in bytes, none is 0."""

    memory_bytes: int = 0
    """A worker with the model, between inferences (proportional set size)."""
    memory_peak_bytes: int = 0
    """The most that a worker has resident at any time, loading included. The device's test measures it."""
    memory_swap_bytes: int = 0
    """At peak while this model and the one before it are loaded side by side."""
    disk_bytes: int = 0
    """The bundle and what the runtime compiles out of it."""
    runtime_min: str | None = None
    """The lowest version of the runtime, such as `1.16`; for `tflite` in the numbers of tflite-runtime, which LiteRT meets."""
    runtime_max: str | None = None
    """The highest version that the model is known to run on; `1.22` takes every 1.22.x in."""
    opset: int | None = None
    """Of the standard operators in an ONNX file; checked against the file."""
    accelerators: tuple[str, ...] = ()
    """Execution providers or delegates, one of which the device must have; none: the CPU will do."""
    accelerators_preferred: tuple[str, ...] = ()
    """What it is faster on, the best first."""
    latency_ms: float | None = None
    """One inference, p95 over the golden samples: what the maker promises on `latency_device`."""
    latency_device: str = ""
    """What that was measured on, such as `Raspberry Pi 4, 1 thread`."""


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparing: `1.22.0+cu12` is (1, 22, 0)."""
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())


def misfit_of_version(version: str, lowest: str | None, highest: str | None) -> str | None:
    """Why an installed version lies outside the range, or None. The highest counts in as many numbers as it has."""
    numbers = version_numbers(version)
    if lowest is not None and numbers < version_numbers(lowest):
        return f"{lowest} or newer is needed, installed is {version}"
    if highest is not None:
        top = version_numbers(highest)
        if numbers[: len(top)] > top:
            return f"{highest} or older is needed, installed is {version}"
    return None


def check_requirements(needs: Requirements, runtime: str) -> None:
    """Raise ManifestError where requirements contradict each other or name what nobody has."""
    for key in ("memory_bytes", "memory_peak_bytes", "memory_swap_bytes", "disk_bytes"):
        if getattr(needs, key) < 0:
            raise ManifestError(f"requirements.{key}: a number of bytes, 0 or more")
    for key in ("runtime_min", "runtime_max"):
        value = getattr(needs, key)
        if value is not None and not _NUMBERS.fullmatch(value):
            raise ManifestError(f"requirements.{key}: {value!r} is not of the form 1.16 or 1.16.3")
    lowest, highest = needs.runtime_min, needs.runtime_max
    if lowest is not None and highest is not None and misfit_of_version(lowest, None, highest):
        raise ManifestError(f"requirements.runtime_max: {highest} is below runtime_min, {lowest}")
    if needs.opset is not None:
        _check_opset(needs.opset, runtime, lowest)
    for key in ("accelerators", "accelerators_preferred"):
        for name in getattr(needs, key):
            if name not in ACCELERATORS[runtime]:
                known = ", ".join(sorted(ACCELERATORS[runtime]))
                raise ManifestError(f"requirements.{key}: {name!r} is none of {known}", Reason.ACCELERATOR_UNKNOWN)
    for one, other in (("memory_peak_bytes", "memory_bytes"), ("memory_swap_bytes", "memory_peak_bytes")):
        if 0 < getattr(needs, one) < getattr(needs, other):
            raise ManifestError(f"requirements.{one}: less than {other}", Reason.SIZE_MISMATCH)
    if (needs.latency_ms is None) == bool(needs.latency_device):
        raise ManifestError("requirements.latency_device: needed by, and only by, latency_ms: what it was measured on")
    if needs.latency_ms is not None and not 0 < needs.latency_ms < 1e7:
        raise ManifestError("requirements.latency_ms: a time in milliseconds, above 0")


def _check_opset(opset: int, runtime: str, lowest: str | None) -> None:
    if runtime != "onnx":
        raise ManifestError(f"requirements.opset: a model for {runtime} has none")
    if not 1 <= opset <= 1000:
        raise ManifestError("requirements.opset: a number from 1 on")
    first = FIRST_RUNTIME.get(opset)
    if first is not None and lowest is not None and version_numbers(lowest) < version_numbers(first):
        raise ManifestError(f"requirements.runtime_min: opset {opset} needs {first}, not {lowest}", Reason.OPSET_MISMATCH)
