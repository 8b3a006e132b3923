"""The baselines of the demo's models made anew, without training: `python -m models baselines`."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fleet_contract.manifest import MANIFEST_NAME, Manifest, parse_manifest
from models import frost, leak, reports
from models.bundle_folder import MODELS, write_bundle_folder

MAKERS: Final[dict[str, Callable[[Manifest, bytes], bytes]]] = {
    "frost": frost.baseline,
    "leak": leak.baseline,
    "reports": reports.baseline,
}
MADE_BEFORE: Final = {"3.0.0": "2.0.0"}
"""A version whose defect came in after it was measured, to the version that was measured."""


def build(root: Path = MODELS) -> list[Manifest]:
    """Write `baseline.json` and its line in `model.toml` of every version."""
    written = []
    for folder in sorted(path.parent for path in root.glob(f"*/*/{MANIFEST_NAME}")):
        manifest = _manifest(folder)
        measured = _manifest(folder.parent / MADE_BEFORE.get(folder.name, folder.name))
        model = (folder / manifest.file).read_bytes()
        baseline = MAKERS[manifest.name](measured, model)
        write_bundle_folder(manifest, model, (folder / manifest.golden).read_bytes(), baseline, root)
        written.append(manifest)
    return written


def _manifest(folder: Path) -> Manifest:
    return parse_manifest((folder / MANIFEST_NAME).read_bytes())
