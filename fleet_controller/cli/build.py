"""`fleet model build`: packs a folder, checks what it claims, and runs its golden samples in the agent's own code."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fleet_controller.cli.arguments import Output, OutputOption
from fleet_controller.cli.exits import Exit, fail
from fleet_controller.cli.output import console, print_json, size, table

if TYPE_CHECKING:
    from fleet_contract.evaluation import Evaluation
    from fleet_contract.manifest import Requirements
    from fleet_controller.registry.publication import BundleFacts

BUILD_EPILOG: Final = (
    f"Exit codes: {Exit.OK.value} the bundle is written; {Exit.REFUSED.value} the model does not do what its manifest says, "
    f"nothing is written; {Exit.FAILED.value} a file or a key is wrong, or the model cannot be run here, nothing is written; "
    f"{Exit.USAGE.value} the command line is wrong."
)


def build(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with model.toml and its files.")],
    out: Annotated[Path | None, typer.Option(help="The bundle to write; default ./NAME-VERSION[-VARIANT].tar.")] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Do not run the golden samples.")] = False,
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How long the golden samples are timed, on one thread.")] = 1.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Pack a folder into a bundle and check it. The same files give the same bytes.

    The golden samples are run by the code that devices run, in a process of its own, and what the manifest promises of memory
    and latency is held against what was measured.

    Example: fleet model build models/frost --out frost-1.0.0.tar
    """
    from fleet_contract.bundle import BundleError
    from fleet_contract.manifest import MANIFEST_NAME, ManifestError, parse_manifest
    from fleet_controller.durable import move_file_durably
    from fleet_controller.registry.bundles import build_bundle
    from fleet_controller.variants.bundles import bundle_name

    try:
        manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
        target = out or Path(f"{bundle_name(manifest)}.tar")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
            packed = Path(scratch) / "bundle.tar"
            facts = build_bundle(folder, packed)
            ran = None if no_run else _run(folder, packed, seconds)
            move_file_durably(packed, target)
    except (BundleError, ManifestError) as error:
        fail(Exit.FAILED, f"{folder}: {error} ({error.reason})")
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename}: {error.strerror}")
    needs = facts.manifest.requirements
    view = facts_view(target, facts) | {"measured": None if ran is None else _measured(ran), "promised": _promised(needs)}
    if output is Output.JSON:
        print_json(view)
    else:
        _print(view)


def _run(folder: Path, packed: Path, seconds: float) -> "Evaluation":
    """Try it; ends the command where the model is refused."""
    from fleet_contract.reasons import Reason
    from fleet_controller.variants.evaluation import EvaluationError, evaluate

    try:
        ran = evaluate(packed, seconds=seconds)
    except EvaluationError as error:
        fail(Exit.FAILED, f"{folder}: {error}")
    if ran.failed is not None:
        reason, text = ran.failed
        here = Reason.RUNTIME_MISSING, Reason.INCOMPATIBLE
        if reason in here:
            fail(Exit.FAILED, f"{folder}: {text} ({reason}); --no-run packs it without running it")
        fail(Exit.REFUSED, f"{folder}: {text} ({reason})")
    for wrong in (ran.golden, ran.broken):
        if wrong is not None:
            fail(Exit.REFUSED, f"{folder}: {wrong[1]} ({wrong[0]})")
    return ran


def facts_view(bundle: Path, facts: "BundleFacts") -> dict[str, Any]:
    """What a bundle is, for people and programs."""
    manifest = facts.manifest
    return {
        "bundle": str(bundle),
        "model": manifest.name,
        "version": manifest.version,
        "variant": manifest.variant,
        "runtime": str(manifest.runtime),
        "task": manifest.task,
        "licence": manifest.licence,
        "bytes": facts.length,
        "digest": facts.digest,
    }


def print_facts(view: dict[str, Any], output: Output) -> None:
    """Show a bundle."""
    if output is Output.JSON:
        print_json(view)
    else:
        rows = [(key, value) for key, value in view.items() if key != "model" and value is not None]
        console().print(table((view["model"], ""), rows))


def _measured(ran: "Evaluation") -> dict[str, Any]:
    return {
        "memory_bytes": ran.memory_bytes,
        "memory_peak_bytes": ran.peak_bytes,
        "latency_p50_ms": round(ran.latency_p50 * 1000, 4),
        "latency_ms": round(ran.latency_p95 * 1000, 4),
        "golden_largest_difference": ran.golden_difference,
        "provider": ran.provider,
        "runtime_version": ran.runtime_version,
    }


def _promised(needs: "Requirements") -> dict[str, Any]:
    return {
        "memory_bytes": needs.memory_bytes or None,
        "memory_peak_bytes": needs.memory_peak_bytes or None,
        "latency_ms": needs.latency_ms,
        "latency_device": needs.latency_device or None,
        "disk_bytes": needs.disk_bytes or None,
    }


def _print(view: dict[str, Any]) -> None:
    print_facts({key: value for key, value in view.items() if key not in ("measured", "promised")}, Output.TABLE)
    measured, promised = view["measured"] or {}, view["promised"]
    device = promised["latency_device"]
    rows = [
        ("size", size(view["bytes"]), size(promised["disk_bytes"])),
        ("memory", size(measured.get("memory_bytes")), size(promised["memory_bytes"])),
        ("peak memory", size(measured.get("memory_peak_bytes")), size(promised["memory_peak_bytes"])),
        ("latency p95", _ms(measured.get("latency_ms")), f"{_ms(promised['latency_ms'])} on {device}" if device else None),
    ]
    console().print(table(("", "here" if measured else "not run", "promised"), rows))


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g} ms"
