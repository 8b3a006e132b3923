"""The limit of what a model can do: `python -m benchmarks.bare_loop MODEL FEEDS.npz OUTPUT SECONDS`, one thread.

Nothing but `InferenceSession.run` on the same arrays. Prints JSON: `per_second`, and `p50` and `p99` in seconds.
"""

import json
import sys
import time

import numpy as np
import onnxruntime

from benchmarks.latency import Latencies

WARM_UP = 20


def main() -> None:
    """Run for so long."""
    model, feeds, output, seconds = sys.argv[1], dict(np.load(sys.argv[2])), [sys.argv[3]], float(sys.argv[4])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for _ in range(WARM_UP):
        session.run(output, feeds)
    taken = Latencies()
    began = now = time.perf_counter()
    while now - began < seconds:
        session.run(output, feeds)
        before, now = now, time.perf_counter()
        taken.add(now - before)
    print(json.dumps({"per_second": len(taken) / (now - began), "p50": taken.quantile(0.5), "p99": taken.quantile(0.99)}))


if __name__ == "__main__":
    main()
