"""Smaller and faster variants of an ONNX model: made with the runtime's own tools, measured, and judged."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any file of this room imports ONNX Runtime, which would phone home
