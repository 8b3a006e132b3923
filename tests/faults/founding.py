"""What a world stands on: the controller's state with one signed release, and a device that runs it."""

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.inference.bundle_store import BundleStore
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Installed, Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.messages import DesiredModel
from fleet_controller.desired import DesiredStates
from fleet_controller.enrolment.devices import Enrolment
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.keys import create_key_file, load_signer
from fleet_controller.registry.publication import BundleFacts, next_release, with_release
from fleet_controller.registry.repository import create_repository
from fleet_controller.registry.service import open_registry
from fleet_controller.settings import ControllerSettings
from fleet_controller.state_folder import StateFolder
from fleet_controller.store.database import Database, open_database
from tests.faults.programs import until

DEVICE: Final = "farm-1"
MODEL: Final = "frost"
PASSPHRASE: Final = b"a passphrase for tests"


@dataclass(frozen=True, slots=True)
class Founded:
    """What the world needs of it."""

    bundle: Path
    facts: BundleFacts


def found(settings: ControllerSettings, folder: Path) -> Founded:
    """Make the controller's state: keys, repository, one device, one release that it is desired to run.

    The device's files go to `folder`: agent-password, token, root.json.
    """
    state = StateFolder(settings.state_dir)
    state.online_keys.mkdir(parents=True)
    state.offline_keys.mkdir(parents=True)
    state.online_passphrase.write_bytes(PASSPHRASE)
    online, offline = state.online_keys, state.offline_keys
    create_repository(
        state.repository,
        root=[create_key_file(offline / f"root-{number}.pem", PASSPHRASE) for number in (1, 2)],
        targets=create_key_file(offline / "targets.pem", PASSPHRASE),
        models=create_key_file(offline / "models.pem", PASSPHRASE),
        snapshot=create_key_file(online / "snapshot.pem", PASSPHRASE),
        timestamp=create_key_file(online / "timestamp.pem", PASSPHRASE),
        now=datetime.now(UTC),
    )
    bundle = folder / "frost.tar"
    facts = build_bundle(Path(str(files("fleet_controller.demo") / "models" / MODEL / "2.0.0")), bundle)
    with closing(open_database(settings.database_url)) as database:
        credentials = Enrolment(settings, database, time.time).add(DEVICE, {}, "test")
        root = _publish(settings, database, bundle, facts)
    (folder / "agent-password").write_text(credentials.broker_password)
    (folder / "token").write_text(credentials.token)
    (folder / "root.json").write_bytes(root)
    return Founded(bundle, facts)


def _publish(settings: ControllerSettings, database: Database, bundle: Path, facts: BundleFacts) -> bytes:
    registry = open_registry(settings, database, time.time)
    current = registry.repository.trust().models
    proposed = with_release(current, next_release(current.signed, facts), facts, datetime.now(UTC))
    proposed.sign(load_signer(StateFolder(settings.state_dir).offline_keys / "models.pem", PASSPHRASE))
    upload = registry.uploads / "frost.tar"
    upload.write_bytes(bundle.read_bytes())
    registry.publish(proposed.to_bytes(), [upload], "test")
    with database.write() as connection:
        DesiredStates(database, lambda *_arguments, **_options: False).assign(connection, DEVICE, MODEL, 1)
    return registry.repository.root()


def put_in_state(state: Path, founded: Founded) -> None:
    """Make the bundle the device's active release 1, as its update would: the tar in its place and the ledger in agent.db."""
    state.mkdir(exist_ok=True)
    store = BundleStore(state / "models")
    incoming = store.incoming() / "frost.tar"
    incoming.write_bytes(founded.bundle.read_bytes())
    store.add(incoming, founded.facts.digest)
    version, digest = founded.facts.manifest.version, founded.facts.digest
    installed = Installed(model=MODEL, release=1, version=version, digest=digest, since="2022-01-01T00:00:00Z")
    # also desired: a model that is not would be removed
    ledger = Ledger(revision=1, desired={MODEL: DesiredModel(model=MODEL, release=1)}, active={MODEL: installed})
    done: list[Exception | None] = []
    database = Store(state / "agent.db", StoreSettings(), lambda call, *arguments: call(*arguments))
    batch = Batch()
    batch.values[LEDGER_KEY] = msgspec.msgpack.encode(ledger)
    database.submit(batch, done.append)
    until(lambda: bool(done), "the ledger is stored", 10.0)
    assert done == [None]
    assert database.close(10.0)
