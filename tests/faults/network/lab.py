"""What the matrix needs: signed releases, a server that misbehaves on demand, and a device."""

import random
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner

from benchmarks.update_world import Device
from fleet_contract.trust import DELTAS_PATH, METADATA_PATH, TARGETS_PATH
from fleet_controller.registry.bundles import build_bundle, measure_bundle
from fleet_controller.registry.publication import next_release, with_release
from fleet_controller.registry.repository import Repository, create_repository

MODEL: Final = "frost"
TOKEN: Final = "a-device-token"
MANIFEST: Final = """
schema = 1
name = "frost"
version = "{version}"
task = "regression"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
kind = "window"
licence = "CC0-1.0"
inputs = [{{ name = "t" }}]
features = [{{ op = "last", input = "t" }}]
input_tensor = {{ name = "x", dtype = "float32", shape = [-1, 1] }}
output_tensor = {{ name = "y", dtype = "float32", shape = [-1, 1], unit = "Cel" }}
"""


def make_bundle(folder: Path, size: int, version: str = "1.0.0", content: bytes | None = None) -> Path:
    """A bundle around `size` random bytes, or around `content`."""
    source = folder / f"source-{version}"
    source.mkdir(parents=True)
    (source / "model.toml").write_text(MANIFEST.format(version=version))
    (source / "model.onnx").write_bytes(random.Random(5).randbytes(size) if content is None else content)
    (source / "golden.json").write_text('[{"window": {"t": [1.0]}, "scores": [0.5]}]')
    path = folder / f"{MODEL}-{version}.tar"
    build_bundle(source, path)
    return path


class Signed:
    """A repository on disk, with its release key at hand."""

    def __init__(self, folder: Path) -> None:
        keys = [CryptoSigner.generate_ed25519() for _ in range(6)]
        self._key = keys[3]
        self.folder = folder / "repository"
        now = datetime.now(UTC)
        create_repository(
            self.folder, root=keys[:2], targets=keys[2], models=keys[3], snapshot=keys[4], timestamp=keys[5], now=now
        )
        online = {key.public_key.keyid: key for key in keys[4:]}
        self.repository = Repository(self.folder, online=lambda: online)
        self.root = self.repository.root()

    def publish(self, bundle: Path) -> None:
        """Sign and take in the next release; the file is moved."""
        facts = measure_bundle(bundle)
        current = self.repository.trust().models
        proposed = with_release(current, next_release(current.signed, facts), facts, datetime.now(UTC))
        proposed.sign(self._key)
        self.repository.publish(proposed.to_bytes(), bundle)


class Answer(BaseHTTPRequestHandler):
    """One request. Metadata is always served as it is; `server.misbehave` may answer for a bundle or a delta."""

    server: "Liar"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted, token = self.headers.get("Range"), self.headers.get("Authorization")
        self.server.asked.append((self.path, wanted))
        self.server.tokens.append(token)
        self.close_connection = True
        file = self.server.folder / self.path.removeprefix("/artifacts/")
        offset = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not self.path.startswith(METADATA_PATH) and self.server.misbehave is not None:
            self.server.misbehave(self, file.read_bytes() if file.is_file() else b"", offset)
        elif not file.is_file():
            self.send_error(404)
        else:
            self.give(file.read_bytes(), offset)

    def give(self, data: bytes, offset: int = 0, **headers: str) -> None:
        """What an honest server answers, but for `headers` (an underscore stands for a dash)."""
        self.send_response(206 if offset else 200)
        if offset:
            headers = {"Content_Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"} | headers
        self.head({"Content_Length": str(len(data) - offset)} | headers)
        self.wfile.write(data[offset:])

    def refuse(self, status: int, **headers: str) -> None:
        """An answer with nothing in it."""
        self.send_response(status)
        self.head({"Content_Length": "0"} | headers)

    def head(self, headers: dict[str, str]) -> None:
        """End the headers; an empty text leaves one out."""
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


Misbehave = Callable[[Answer, bytes, int], None]
"""(request, the file's bytes, the offset that was asked for)"""


class Liar(ThreadingHTTPServer):
    """Offers a repository's folder."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.folder = folder
        self.misbehave: Misbehave | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="liar", daemon=True)
        self._thread.start()

    def targets(self) -> list[str | None]:
        """The ranges asked of bundles."""
        return [wanted for path, wanted in self.asked if path.startswith(TARGETS_PATH)]

    def deltas(self) -> list[str | None]:
        """The ranges asked of deltas."""
        return [wanted for path, wanted in self.asked if path.startswith(DELTAS_PATH)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the child hangs up in the middle of most answers here

    def end(self) -> None:
        """Harmless when it has ended."""
        self.ending.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()


def make_device(folder: Path, root: bytes, base: str, token: str = TOKEN) -> Device:
    """A device that trusts `root` and fetches from `base`."""
    return Device(folder, root, base, token=token, model=MODEL)


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for another host, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def with_tls(server: Liar, pem: Path) -> None:
    """Speak TLS from the next connection on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
