"""Figures: medians with their spread, printed as a table and written as JSON."""

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of ours beside a reference, each as the values of several runs."""

    metric: str
    unit: str
    ours: Sequence[float]
    reference: Sequence[float]
    reference_name: str


def quick() -> bool:
    """Whether `QUICK=1` asks for one short round, to see that a benchmark works."""
    return os.environ.get("QUICK") == "1"


def write(name: str, figures: Sequence[Figure]) -> None:
    """Print the table and write `build/bench/NAME.json`. `ratio` is ours over the reference, from the medians."""
    print(f"\n{name}\n{'metric':<34} {'ours':>12} {'spread':>23} {'reference':>12}  {'ratio':>6}  reference_name")
    entries = []
    for figure in figures:
        ours, reference = statistics.median(figure.ours), statistics.median(figure.reference)
        ratio = ours / reference if reference else None
        spread = f"{min(figure.ours):.6g} to {max(figure.ours):.6g}"
        shown = "-" if ratio is None else f"{ratio:.2f}"
        unit = f" {figure.unit}"
        print(
            f"{figure.metric:<34} {ours:>12.6g} {spread:>23} {reference:>12.6g}  {shown:>6}  {figure.reference_name}{unit:>12}"
        )
        entries.append(
            {
                "metric": figure.metric,
                "unit": figure.unit,
                "ours": ours,
                "ours_spread": [min(figure.ours), max(figure.ours)],
                "reference": reference,
                "reference_spread": [min(figure.reference), max(figure.reference)],
                "reference_name": figure.reference_name,
                "ratio": ratio,
            }
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"benchmark": name, "commit": _commit(), "figures": entries}, indent=2) + "\n")
    print(f"written to {path}")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
