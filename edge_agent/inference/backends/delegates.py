"""The delegates of TensorFlow Lite: the libraries behind the names, and how a model is told where it runs. No I/O."""

from collections.abc import Mapping

DELEGATES: Mapping[str, str] = {
    "edgetpu": "libedgetpu.so.1",
    "gpu": "libtensorflowlite_gpu_delegate.so",
}
"""A name as `delegates` has it to the library that the loader looks for; an absolute path is a library itself."""
DEFAULT_DELEGATE = "XNNPACK"
CPU = "CPU"
_DELEGATE_OPERATOR = "DELEGATE"


def library_of(name: str) -> str | None:
    """What to load for a delegate of the configuration; None for a name that is none."""
    return name if name.startswith("/") else DELEGATES.get(name)
