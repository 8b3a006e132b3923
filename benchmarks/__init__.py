"""Measured claims: each module prints its figures beside a peer or a limit of the same run, and writes them as JSON."""

import os

# before anything imports ONNX Runtime, which from 1.29 on would write an id into the home folder and phone home
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
