"""`python -m models [frost|leak|reports]…`: retrain, and write the bundle folders of the demo."""

import sys

from models import frost, leak, reports

TASKS = {"frost": frost.build, "leak": leak.build, "reports": reports.build}


def main(names: list[str]) -> int:
    """Train the named tasks, or all; returns the exit status."""
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(TASKS)}", file=sys.stderr)
        return 2
    for name in names or TASKS:
        for bundle in TASKS[name]():
            print(f"{bundle.name} {bundle.version}: {bundle.metrics}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
