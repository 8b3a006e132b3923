"""`python -m models [frost|leak|reports|baselines]…`: retrain, and write the demo's bundle folders; or baselines alone."""

import sys

from models import baselines, frost, leak, reports

TASKS = {"frost": frost.build, "leak": leak.build, "reports": reports.build}
WITHOUT_TRAINING = {"baselines": baselines.build}


def main(names: list[str]) -> int:
    """Train the named tasks, or all; returns the exit status."""
    unknown = [name for name in names if name not in TASKS | WITHOUT_TRAINING]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(TASKS | WITHOUT_TRAINING)}", file=sys.stderr)
        return 2
    for name in names or TASKS:
        for bundle in (TASKS | WITHOUT_TRAINING)[name]():
            print(f"{bundle.name} {bundle.version}: {bundle.metrics}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
