"""A founded controller, and the real service as a process on a free port. Its broker is a port where nobody listens."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

FLEET = [sys.executable, "-c", "from fleet_controller.cli import main; main()"]
PASSPHRASE = "correct horse battery"

MANIFEST = """
schema = 1
name = "{name}"
version = "{version}"
task = "classification"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
kind = "window"
inputs = [{{ name = "temperature", unit = "Cel" }}]
features = [{{ op = "last", input = "temperature" }}]
labels = ["frost"]
licence = "Apache-2.0"
[input_tensor]
name = "x"
dtype = "float32"
shape = [-1, 1]
[output_tensor]
name = "y"
dtype = "float32"
shape = [-1, 1]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Served:
    """A running service: its base URL, the operator's token, and the state folder."""

    url: str
    token: str
    state_dir: Path
    passphrase_file: Path

    @property
    def release_key(self) -> Path:
        return self.state_dir / "keys" / "offline" / "release.pem"

    def client(self, token: str | None = None) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token or self.token}"}, timeout=30)

    def fleet(self, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SMALLHOLD_")}
        environment |= {"SMALLHOLD_KEY_PASSPHRASE_FILE": str(self.passphrase_file)}
        command = [*FLEET, "--config", str(self.state_dir / "fleet.toml"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, input=text or "")

    def fleet_json(self, *arguments: object) -> object:
        done = self.fleet(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Served]:
    port, dead_port = free_port(), free_port()
    passphrase = folder / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    state = folder / "state"
    command = ["init", "--state-dir", state, "--passphrase-file", passphrase, "--http-port", port, "--broker-port", dead_port]
    subprocess.run([*FLEET, *map(str, command)], check=True, capture_output=True, timeout=60)
    # The model files of these tests are no models.
    with (state / "controller.toml").open("a") as config:
        config.write("\n[registry]\nload_models = false\n")
    log = (folder / "log").open("wb")
    process = subprocess.Popen([*FLEET, "serve", "--config", str(state / "controller.toml")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        yield Served(url, (state / "operator.token").read_text().strip(), state, passphrase)
    finally:
        process.terminate()
        assert process.wait(30) == 0, (folder / "log").read_text()
        log.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("controller")) as found:
        yield found


@pytest.fixture(scope="module")
def own_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that one test file has for itself: its keys are changed."""
    with serve(tmp_path_factory.mktemp("controller")) as found:
        yield found


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder that `fleet model build` takes; the model file is not a model, which nothing here would notice."""

    def make(name: str, version: str = "1.0.0", content: bytes = b"weights") -> Path:
        folder = tmp_path / f"{name}-{version}"
        folder.mkdir()
        (folder / "model.toml").write_text(MANIFEST.format(name=name, version=version))
        (folder / "model.onnx").write_bytes(content)
        (folder / "golden.json").write_text('[{"window": {"temperature": [1.5]}, "scores": [0.5]}]')
        return folder

    return make
