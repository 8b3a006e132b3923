"""`fleet model optimize`: variants of a model, made here, measured side by side, and refused where they lose too much."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fleet_controller.cli.arguments import Output, OutputOption
from fleet_controller.cli.exits import Exit, fail
from fleet_controller.cli.output import console, print_json, size, table
from fleet_controller.variants.kinds import MEANING, Kind

if TYPE_CHECKING:
    from fleet_controller.variants.judging import Measured
    from fleet_controller.variants.optimising import Report, Wish

_STEPS_OF_A_VARIANT: Final = 2
_KINDS: Final = "; ".join(f"{kind.value} ({text})" for kind, text in MEANING.items())
OPTIMIZE_EPILOG: Final = (
    f"Exit codes: {Exit.OK.value} every variant was made and written; {Exit.REFUSED.value} at least one was refused or cannot "
    f"be made, the others are written; {Exit.FAILED.value} nothing could be done, the reason is on standard error; "
    f"{Exit.USAGE.value} the command line is wrong."
)


def optimize(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", exists=True, help="A bundle of an ONNX model, folder or .tar.")],
    out: Annotated[Path, typer.Option(help="Folder for the variants that are accepted, in the form that BUNDLE has.")] = Path(),
    variant: Annotated[
        list[Kind] | None,
        typer.Option(help=f"What to make, may be repeated: {_KINDS}. Default: all that --calibration and --prune allow."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Held-out samples, JSON lines, to measure accuracy on."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Other samples, for int8-static and pruned, JSON lines.")
    ] = None,
    max_loss: Annotated[float, typer.Option(min=0, help="Accuracy (or R²) that a variant may lose on --data, 0 to 1.")] = 0.01,
    min_cosine: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Least mean cosine to the source's scores on --data.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Tolerance of the variants' golden samples; default is the source's own.")
    ] = None,
    prune: Annotated[
        float | None, typer.Option(min=0.01, max=0.95, help="Share of hidden units for pruned to take out.")
    ] = None,
    require_gain: Annotated[bool, typer.Option(help="Refuse a variant that is neither smaller nor faster (by 5 %).")] = False,
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How long each is timed, on one thread.")] = 2.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make smaller and faster variants of an ONNX model, and measure them beside it.

    Each variant is tried in a process of its own by the code that devices run. It must give the golden samples' scores, which
    stay those of the source, and lose no more on --data than allowed; otherwise it is refused and not written. An accepted one
    keeps name and version, has the key `variant`, and is published with the source as one release: `fleet model add`.

    A line of --data or --calibration: {"text": "…", "label": "pest"}, or {"window": {"flow": [1.0, 1.2]}, "times": [0, 60],
    "label": "leak"}; "scores" in place of "label" for a regression.

    Formats: ONNX in, ONNX out. Not made: .ort, because devices check what is in a model file before a runtime sees it, and
    that check reads ONNX; .tflite, because its converters need TensorFlow or PyTorch.

    Example: fleet model optimize leak-2.0.0.tar --data held-out.jsonl --tolerance 0.02 --out variants

    Example: fleet model optimize models/encoder --variant int8 --variant int4 --data reports.jsonl --min-cosine 0.97
    """
    kinds = _kinds(variant, calibration, prune)
    try:
        from fleet_controller.variants.judging import Limits
        from fleet_controller.variants.optimising import OptimiseError, Wish, optimise
    except ModuleNotFoundError as error:
        fail(Exit.FAILED, f"{error.name} is not installed: pip install 'smallhold[optimize]'")
    wish = Wish(
        kinds=kinds,
        out=out,
        data=data,
        calibration=calibration,
        prune_share=prune or 0.0,
        tolerance=tolerance,
        limits=Limits(max_loss=max_loss, min_cosine=min_cosine, require_gain=require_gain),
        seconds=seconds,
    )
    try:
        report = _with_progress(bundle, wish, optimise)
    except OptimiseError as error:
        fail(Exit.FAILED, str(error))
    if output is Output.JSON:
        print_json(_view(report))
    else:
        _print(report)
    if any(outcome.path is None for outcome in report.outcomes):
        raise typer.Exit(Exit.REFUSED.value)


def _kinds(wished: list[Kind] | None, calibration: Path | None, prune: float | None) -> list[Kind]:
    possible = {Kind.INT8_STATIC: calibration is not None, Kind.PRUNED: prune is not None}
    if not wished:
        return [kind for kind in Kind if possible.get(kind, True)]
    for kind, option in ((Kind.INT8_STATIC, "--calibration"), (Kind.PRUNED, "--prune")):
        if kind in wished and not possible[kind]:
            raise typer.BadParameter(f"{kind} needs {option}", param_hint="--variant")
    return list(dict.fromkeys(wished))


def _with_progress(bundle: Path, wish: "Wish", optimise: Any) -> "Report":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    steps = 1 + _STEPS_OF_A_VARIANT * len(wish.kinds) + wish.calibrates
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=steps)

        def tell(step: str) -> None:
            # The step that is told of only begins; what stood there before is done.
            progress.update(task, description=step, advance=0 if progress.tasks[0].description == "" else 1)

        report: Report = optimise(bundle, wish, tell)
        return report


def _view(report: "Report") -> dict[str, Any]:
    manifest = report.manifest
    return {
        "model": manifest.name,
        "version": manifest.version,
        "data": report.data,
        "source": _figures(report.source),
        "variants": [
            {
                "variant": outcome.kind.value,
                "state": outcome.state.value,
                "reasons": list(outcome.reasons),
                "remarks": list(outcome.remarks),
                "version": outcome.manifest.version if outcome.manifest else None,
                "path": str(outcome.path) if outcome.path else None,
            }
            | (_figures(outcome.measured) if outcome.measured else {})
            for outcome in report.outcomes
        ],
    }


def _figures(measured: "Measured") -> dict[str, Any]:
    ran, quality, alike = measured.evaluation, measured.quality, measured.likeness
    return {
        "file_bytes": measured.file_bytes,
        "weights": measured.facts.stored,
        "narrow_weights_share": round(measured.facts.narrow_share, 4),
        "heavy_operators": measured.facts.heavy,
        "narrow_heavy_operators": measured.facts.narrow_heavy,
        quality.name if quality else "accuracy": round(quality.value, 6) if quality else None,
        "mae": quality.mae if quality else None,
        "judged_samples": quality.samples if quality else 0,
        "cosine_mean": alike.cosine_mean if alike else None,
        "cosine_least": alike.cosine_least if alike else None,
        "largest_difference": alike.largest_difference if alike else None,
        "golden_largest_difference": ran.golden_difference,
        "latency_p50_seconds": ran.latency_p50,
        "latency_p95_seconds": ran.latency_p95,
        "memory_bytes": ran.memory_bytes,
        "peak_memory_bytes": ran.peak_bytes,
        "runtime_version": ran.runtime_version,
    }


def _print(report: "Report") -> None:
    """Variants as columns: they are few and the figures many, so that all fit a terminal of 80 columns."""
    manifest, source = report.manifest, report.source
    columns = [_cells(source, source), *(_cells(outcome.measured, source) for outcome in report.outcomes)]
    judged = source.quality.name.replace("_", " ") if source.quality else "accuracy"
    named = [judged if label is None else label for label in _FIGURES]
    rows = [list(row) for row in zip(named, *columns, strict=True) if any(cell is not None for cell in row[1:])]
    rows.append(["outcome", None, *(outcome.state.value for outcome in report.outcomes)])
    shown = console()
    shown.print(f"{manifest.name} {manifest.version}, on {report.data}", markup=False)
    shown.print(table(["", "source", *(outcome.kind.value for outcome in report.outcomes)], rows))
    for outcome in report.outcomes:
        for text in (*outcome.reasons, *outcome.remarks):
            shown.print(f"{outcome.kind}: {text}", markup=False)
        if outcome.path is not None:
            shown.print(f"{outcome.kind}: written to {outcome.path}", markup=False)


_FIGURES: Final = (
    "file",
    "narrow weights",
    "narrow operators",
    None,  # how right it is, by the measure that the data allows
    "mean absolute error",
    "cosine",
    "difference",
    "p50",
    "p95",
    "times as fast",
    "memory",
)


def _cells(measured: "Measured | None", source: "Measured") -> list[str | None]:
    """The figures of one column; all empty where there is no variant."""
    if measured is None:
        return [None] * len(_FIGURES)
    ran, facts, quality, alike = measured.evaluation, measured.facts, measured.quality, measured.likeness
    factor = source.evaluation.latency_p50 / ran.latency_p50 if ran.latency_p50 and measured is not source else None
    return [
        size(measured.file_bytes),
        f"{facts.narrow_share:.0%}",
        f"{facts.narrow_heavy} of {facts.heavy}",
        f"{quality.value:.4f}" if quality else None,
        f"{quality.mae:.3g}" if quality and quality.mae is not None else None,
        f"{alike.cosine_mean:.4f}" if alike and alike.cosine_mean is not None else None,
        f"{alike.largest_difference:.3g}" if alike else None,
        _short_time(ran.latency_p50),
        _short_time(ran.latency_p95),
        f"{factor:.2f}" if factor else None,
        size(ran.memory_bytes),
    ]


def _short_time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 0.001 else f"{seconds * 1e3:.3g} ms"
