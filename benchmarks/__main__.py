"""`python -m benchmarks [NAME]`: runs every benchmark, or one, and writes `build/bench/NAME.json`."""

import importlib
import sys
from typing import Final

# `footprint` is the last: the process that measures it must not be a Python any more.
BENCHMARKS: Final = (
    "event_path",
    "inference",
    "peers",
    "formats",
    "features",
    "drift",
    "outbox",
    "outage",
    "swap",
    "updates",
    "footprint",
)


def main() -> int:
    """Run what was asked for."""
    names = sys.argv[1:] or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            sys.stderr.write(f"there is no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}\n")
            return 2
    for name in sorted(names, key=BENCHMARKS.index):
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
