"""`python -m tests.faults.updates.make_state_fixture tests/fixtures/state/VERSION`: a state folder as this release leaves it.

To be run once for each release, with its code, just before it is published: later code has to go on with what it wrote. The
folder has an active release on probation, the one before it, the first good one, a result and a note that were not sent, and an
event of an open window.
"""

import io
import json
import sqlite3
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.inference.bundle_store import BundleStore
from edge_agent.journal.batch import Batch, JournalRow, OutboxRow
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates import history
from edge_agent.updates.ledger import Floors, Installed, Ledger, UpdateRecord
from edge_agent.updates.machine import Event
from edge_agent.updates.store import FLOORS_KEY, LEDGER_KEY
from fleet_contract.messages import DesiredModel
from fleet_contract.update_report import Figures
from tests.faults.programs import until
from tests.faults.updates.fleet import MODEL

TIME: Final = "2026-11-25T10:00:00.000Z"
WAY: Final = (Event.BEGIN, Event.FETCHED, Event.VERIFIED, Event.STAGED, Event.PASSED, Event.SHADOWED, Event.ACTIVATED)
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
output_tensor = {{ name = "y", dtype = "float32", shape = [-1, 1], unit = "1" }}
"""


def make(state: Path) -> None:
    """Write the folder."""
    bundles = BundleStore(state / "models")
    first, second, third = (_install(bundles, release) for release in (1, 2, 3))
    record = UpdateRecord(model=MODEL, release=3, since=TIME, attempts=1)
    ledger = Ledger(
        revision=7,
        desired={MODEL: DesiredModel(model=MODEL, release=3)},
        active={MODEL: msgspec.structs.replace(third, proven=False)},
        previous={MODEL: second},
        factory={MODEL: first},
    )
    history.begin(ledger, record)
    for event in WAY:
        history.advance(ledger, record, event, TIME)
    record.version, record.digest = third.version, third.digest
    record.incumbent = Figures(inferences=100, p50_ms=90.0, p95_ms=100.0)
    floors = Floors(timestamp_version=4, timestamp_keys="k", releases={MODEL: 1}, last_time=1_700_000_000.0)
    encode = msgspec.msgpack.encode
    batch = Batch(
        journal=[JournalRow(1, "farm/north/weather", b'{"id": "e1", "a": 1}', 1, False, None, 0.0)],
        outbox=[
            OutboxRow("result", "sh/v1/farm-1/up/result/frost", b'{"result_id": "r1"}', durable=True),
            OutboxRow("note", "sh/v1/farm-1/up/note", b'{"kind": "update"}', durable=True),
        ],
        values={LEDGER_KEY: encode(ledger), FLOORS_KEY: encode(floors)},
        last_event_no=1,
    )
    done: list[Exception | None] = []
    store = Store(state / "agent.db", StoreSettings(ballast_bytes=0), lambda call, *arguments: call(*arguments))
    store.submit(batch, done.append)
    until(lambda: bool(done), "the batch is stored", 10.0)
    assert done == [None]
    assert store.close()
    with sqlite3.connect(state / "agent.db") as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    (state / "agent.db.lock").unlink()
    (state / "models" / "incoming").rmdir()


def _install(bundles: BundleStore, release: int) -> Installed:
    version = f"{release}.0.0"
    path = bundles.incoming() / "bundle.tar"
    golden = json.dumps([{"window": {"t": [1.0]}, "scores": [0.5]}])
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (
            ("model.toml", MANIFEST.format(version=version).encode()),
            ("model.onnx", b"\x08" + bytes([release])),
            ("golden.json", golden.encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    digest = "sha256:" + sha256(path.read_bytes()).hexdigest()
    bundles.add(path, digest)
    return Installed(model=MODEL, release=release, version=version, digest=digest, since=TIME)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    make(target)
