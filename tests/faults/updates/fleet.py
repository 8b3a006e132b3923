"""What an update comes from and begins with: signed releases, a server that offers them, and a device that runs one."""

import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.inference.bundle_store import BundleStore, hex_of
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Floors, Installed, Ledger
from edge_agent.updates.store import FLOORS_KEY, LEDGER_KEY
from fleet_contract.messages import DesiredModel
from fleet_controller.registry.bundles import build_bundle, measure_bundle
from tests.faults.network.lab import Answer, Signed
from tests.faults.programs import until

MODEL: Final = "frost"
VERSIONS: Final = ("1.0.0", "2.0.0", "3.0.0")
"""Of the demo's real models; release 1 is the first."""
TOKEN: Final = "a-device-token"


class Fleet:
    """A repository with real signed metadata and three releases of one model."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._signed = Signed(folder)
        self.repository = self._signed.folder
        self.root = self._signed.root
        self.bundles: dict[int, Path] = {}
        self.digests: dict[int, str] = {}
        for release, version in enumerate(VERSIONS, 1):
            path = folder / f"{version}.tar"
            build_bundle(Path(str(files("fleet_controller.demo") / "models" / MODEL / version)), path)
            self.bundles[release], self.digests[release] = path, measure_bundle(path).digest
            upload = folder / "upload.tar"
            shutil.copy(path, upload)
            self._signed.publish(upload)

    def found(self, folder: Path, installed: Sequence[int] = (1,), floor: int = 0) -> None:
        """A device's folder. The first of `installed` is active and desired, the second is the one before it."""
        state = folder / "state"
        state.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(TOKEN)
        (folder / "root.json").write_bytes(self.root)
        store = BundleStore(state / "models")
        for release in installed:
            incoming = store.incoming() / "bundle.tar"
            shutil.copy(self.bundles[release], incoming)
            store.add(incoming, self.digests[release])
        places = [self._installed(release) for release in installed]
        ledger = Ledger(
            revision=1,
            desired={MODEL: DesiredModel(model=MODEL, release=installed[0])},
            active={MODEL: places[0]},
            previous={MODEL: places[1]} if len(places) > 1 else {},
            factory={MODEL: places[0]},
        )
        floors = Floors(releases={MODEL: floor} if floor else {})
        write_values(state / "agent.db", {LEDGER_KEY: ledger, FLOORS_KEY: floors})

    def _installed(self, release: int) -> Installed:
        version, digest = VERSIONS[release - 1], self.digests[release]
        return Installed(model=MODEL, release=release, version=version, digest=digest, since="2022-01-01T00:00:00Z")

    def stored(self, state: Path, release: int) -> Path:
        """Where a device keeps a release."""
        return state / "models" / MODEL / f"{hex_of(self.digests[release])}.tar"


def write_values(path: Path, values: dict[str, object]) -> None:
    """Put values into agent.db, as the daemon does."""
    done: list[Exception | None] = []
    database = Store(path, StoreSettings(ballast_bytes=0), lambda call, *arguments: call(*arguments))
    encoded = {key: msgspec.msgpack.encode(value) for key, value in values.items()}
    database.submit(Batch(values=encoded), done.append)
    until(lambda: bool(done), "the values are stored", 10.0)
    assert done == [None]
    assert database.close(10.0)


def read_ledger(path: Path) -> Ledger:
    """What agent.db says of the updates, while no daemon has it."""
    database = Store(path, StoreSettings(ballast_bytes=0), lambda call, *arguments: call(*arguments))
    stored = database.values()[LEDGER_KEY]
    assert database.set_aside is None
    assert database.close(10.0)
    return msgspec.msgpack.decode(stored, type=Ledger)


def corrupt(answer: Answer, data: bytes, offset: int) -> None:
    """As many bytes as were signed, and one of them is another."""
    answer.give(bytes([data[0] ^ 1]) + data[1:], offset)


class Busy:
    """Answers the first request for a bundle with 503."""

    def __init__(self, for_seconds: int = 0) -> None:
        """`for_seconds`: what it asks to wait."""
        self._headers = {"Retry_After": str(for_seconds)} if for_seconds else {}
        self.refused = 0

    def __call__(self, answer: Answer, data: bytes, offset: int) -> None:
        if self.refused:
            answer.give(data, offset)
            return
        self.refused += 1
        answer.refuse(503, **self._headers)
