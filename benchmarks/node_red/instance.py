"""Installs Node-RED below `build/`, and lays out one instance of it."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.figures import FOLDER

_HERE: Final = Path(__file__).resolve().parent
_INSTALLED: Final = FOLDER / "node_red"
_INSTALL_SECONDS: Final = 600


def install() -> Path:
    """The folder with `node_modules`, filled at the first call and after a change of the versions.

    Without install scripts: onnxruntime-node's only downloads the CUDA libraries, the CPU's are in the package.
    """
    if shutil.which("npm") is None:
        raise SystemExit("the benchmark peers needs Node.js and npm: apt-get install nodejs npm")
    wanted, laid = _HERE / "package.json", _INSTALLED / "package.json"
    if laid.exists() and laid.read_bytes() == wanted.read_bytes():
        return _INSTALLED.resolve()
    shutil.rmtree(_INSTALLED, ignore_errors=True)
    fresh = _INSTALLED.with_name("node_red.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copy(wanted, fresh)
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]
    subprocess.run(command, cwd=fresh, check=True, timeout=_INSTALL_SECONDS)
    fresh.rename(_INSTALLED)
    return _INSTALLED.resolve()


def lay_out(folder: Path) -> list[str]:
    """Make an instance's user folder; returns what starts it, which reads BENCH_PORT, BENCH_UI_PORT and BENCH_MODEL."""
    installed = install()
    user = folder / "node_red"
    user.mkdir()
    for name in ("package.json", "flow.json", "settings.js"):
        shutil.copy(_HERE / name, user)
    (user / "node_modules").symlink_to(installed / "node_modules")
    program = installed / "node_modules" / "node-red" / "red.js"
    return ["node", str(program), "--userDir", str(user.resolve()), "--settings", str((user / "settings.js").resolve())]
