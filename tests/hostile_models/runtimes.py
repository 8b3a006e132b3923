"""The model runtimes under test, each with the interpreter that its workers get."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.hostile_models import onnx_files, tflite_files


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime, the files made for it, and the package that its workers are not to find."""

    name: str
    format: str
    """As a manifest names it."""
    files: ModuleType
    hidden: str | None = None

    def python(self, folder: Path) -> dict[str, str]:
        """`inference.python`: an interpreter that finds one TensorFlow Lite package alone."""
        if self.hidden is None:
            return {}
        stub = folder / "hiding" / self.hidden
        stub.mkdir(parents=True)
        (stub / "__init__.py").write_text('raise ImportError("hidden by a test")\n')
        script = folder / "python"
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{stub.parent}:$PYTHONPATH" exec {sys.executable} "$@"\n')
        script.chmod(0o755)
        return {self.format: str(script)}

    @property
    def runs(self) -> dict[str, Callable[[], bytes]]:
        """Files that strike when they are run."""
        files: dict[str, Callable[[], bytes]] = self.files.RUNS
        return files

    @property
    def loads(self) -> dict[str, Callable[[], bytes]]:
        """Files that strike when they are loaded."""
        files: dict[str, Callable[[], bytes]] = self.files.LOADS
        return files


RUNTIMES: Final = (
    Runtime("onnx", "onnx", onnx_files),
    *(() if sys.version_info >= (3, 12) else (Runtime("tflite-runtime", "tflite", tflite_files, "ai_edge_litert"),)),
    Runtime("ai-edge-litert", "tflite", tflite_files, "tflite_runtime"),
)
