"""The operator of the demo: runs the real `fleet` command, and looks at the service's HTTP API while waiting."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx

from fleet_controller.demo.processes import DemoError, clean_environment

FLEET: Final = [sys.executable, "-P", "-c", "from fleet_controller.cli import main; main()"]
"""The `fleet` script under this very interpreter, so that no PATH matters."""
COMMAND_TIMEOUT: Final = 120.0


def run_fleet(*arguments: str) -> Any:
    """Run `fleet ARGUMENTS -o json` and return its answer; raises DemoError with what it said on standard error."""
    done = subprocess.run(
        [*FLEET, *arguments, "-o", "json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=clean_environment(),
        timeout=COMMAND_TIMEOUT,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise DemoError(f"`fleet {' '.join(arguments)}` ended with {done.returncode}: {said}")
    return json.loads(done.stdout)


class Operator:
    """Commands against one running service, as the operator that `fleet init` has made."""

    def __init__(self, config: Path, token_file: Path, url: str, release_key: Path, passphrase: Path) -> None:
        self._options = ("--url", url, "--config", str(config))
        self._signing = ("--key", str(release_key), "--passphrase-file", str(passphrase))
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=10.0)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def look(self, path: str) -> Any:
        """GET from the API; None while the service does not answer."""
        try:
            response = self._http.get(path)
        except httpx.TransportError:
            return None
        response.raise_for_status()
        return response.json()

    def run(self, *arguments: str) -> Any:
        """`fleet ARGUMENTS -o json` on this service; raises DemoError."""
        return run_fleet(*self._options, *arguments)

    def add_device(self, name: str, site: str, folder: Path) -> None:
        """`fleet device add`: the credentials go to `folder`."""
        self.run("device", "add", name, "--label", f"site={site}", "--out", str(folder))

    def publish(self, folder: Path, bundle: Path) -> dict[str, Any]:
        """`fleet model build` and `fleet model add`; returns the release."""
        # The story has bad models, which the devices are to find out.
        run_fleet("model", "build", str(folder), "--out", str(bundle), "--no-run")
        return self.add(bundle)

    def add(self, *bundles: Path) -> dict[str, Any]:
        """`fleet model add` of a bundle, or of all variants of a release; returns the release."""
        release: dict[str, Any] = self.run("model", "add", *map(str, bundles), *self._signing)
        return release

    def start_rollout(self, model: str, site: str, *, canary: int, soak: float, shadow: bool = True) -> int:
        """`fleet rollout start` of the newest release to the devices of a site; returns the rollout's number."""
        plan = ["--select", f"site={site}", "--canary", str(canary), "--soak", f"{soak:g}s", "--on-failure", "pause"]
        if not shadow:
            plan.append("--no-shadow")
        number: int = self.run("rollout", "start", model, *plan)["id"]
        return number

    def show_rollout(self, number: int) -> dict[str, Any]:
        """`fleet rollout show`."""
        rollout: dict[str, Any] = self.run("rollout", "show", str(number))
        return rollout

    def return_rollout(self, number: int) -> None:
        """`fleet rollout return`."""
        self.run("rollout", "return", str(number))
