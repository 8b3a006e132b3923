"""The registry of the running service: takes in signed publications and keeps the database in step with the repository."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from fleet_contract.bundle import BundleError
from fleet_controller.registry.bundles import measure_bundle
from fleet_controller.registry.deltas import Deltas
from fleet_controller.registry.keys import open_folder, read_passphrase
from fleet_controller.registry.loading import check_loads
from fleet_controller.registry.publication import PublishedRelease
from fleet_controller.registry.repository import Repository, SignedChange
from fleet_controller.settings import ControllerSettings
from fleet_controller.state_folder import StateFolder
from fleet_controller.store.database import Database
from fleet_controller.store.operators import record_action
from fleet_controller.store.published import ReleaseRow, add_release, list_releases

log = logging.getLogger(__name__)


class Registry:
    """The signed repository and its copy in the database. Callable from any thread."""

    def __init__(
        self, repository: Repository, uploads: Path, database: Database, clock: Callable[[], float], deltas_from: int
    ) -> None:
        self.repository = repository
        self.uploads = uploads
        self._database = database
        self._clock = clock
        self.deltas = Deltas(
            repository.folder,
            releases=repository.releases,
            floors=repository.floors,
            file_of=repository.target_file,
            earlier=deltas_from,
        )

    def publish(self, signed: bytes, bundles: Sequence[Path], operator: str) -> ReleaseRow:
        """Take in one release, with a bundle for each of its variants.

        Raises BundleError, PublicationError or OSError, and then nothing has changed.
        """
        new = self.repository.publish(signed, *bundles).release
        row = self._row([item for item in self.repository.releases() if _number(item) == (new.model, new.release)])
        with self._database.write() as connection:
            add_release(connection, row)
            details: dict[str, Any] = {"release": row.release, "version": row.version, "digest": row.digest}
            record_action(connection, self._clock(), operator, "model.add", row.model, details)
        self.deltas.published()
        return row

    def revoke(self, signed: bytes, operator: str) -> tuple[str, int]:
        """Take in a raised floor; returns the model and its floor. Raises PublicationError or OSError."""
        model, floor = self.repository.revoke(signed)
        with self._database.write() as connection:
            record_action(connection, self._clock(), operator, "model.revoke", model, {"floor": floor})
        self.deltas.published()
        log.info("releases revoked", extra={"model": model, "floor": floor})
        return model, floor

    def change_trust(self, signed: SignedChange, operator: str) -> None:
        """Take in a change of keys; raises PublicationError, KeyFileError or OSError, and then nothing has changed."""
        state = self.repository.change_trust(signed)
        changed = {
            name: metadata.signed.version
            for name, metadata in (("root", state.root), ("targets", state.targets), ("models", state.models))
            if getattr(signed, name) is not None
        }
        with self._database.write() as connection:
            record_action(connection, self._clock(), operator, "keys.change", "trust", changed)
        log.info("signing keys changed", extra=changed)

    def sync(self) -> None:
        """Enter what the repository has and the database lacks: a crash may have come between the two."""
        with self._database.read() as connection:
            known = {(row.model, row.release) for row in list_releases(connection)}
        for number, targets in groupby(self.repository.releases(), _number):
            if number in known:
                continue
            try:
                row = self._row(list(targets))
            except (BundleError, OSError) as error:
                log.error("a published bundle cannot be read", extra={"model": number[0], "error": str(error)})
                continue
            with self._database.write() as connection:
                add_release(connection, row)

    def refresh(self) -> None:
        """Sign the online metadata again; for a daily schedule."""
        self.repository.refresh()
        log.info("online metadata signed again")

    def _row(self, targets: Sequence[PublishedRelease]) -> ReleaseRow:
        """Of one release's targets: its own figures are those of the first variant. Raises BundleError and OSError."""
        first = targets[0]
        return ReleaseRow(
            model=first.release.model,
            release=first.release.release,
            version=first.release.version,
            digest=first.digest,
            size=first.length,
            floor=first.release.floor,
            manifest=msgspec.to_builtins(measure_bundle(self.repository.target_file(first)).manifest),
            created=self._clock(),
            variants=[
                {
                    "variant": item.release.variant,
                    "digest": item.digest,
                    "size": item.length,
                    "facts": msgspec.to_builtins(item.release.facts),
                }
                for item in targets
            ],
        )


def _number(published: PublishedRelease) -> tuple[str, int]:
    return published.release.model, published.release.release


def open_registry(settings: ControllerSettings, database: Database, clock: Callable[[], float]) -> Registry:
    """Open the repository in the state folder with its online keys; raises KeyFileError or PublicationError."""
    folder = StateFolder(settings.state_dir)
    passphrase = read_passphrase(settings.registry.passphrase_file or folder.online_passphrase, what="online keys")
    repository = Repository(
        folder.repository,
        online=lambda: open_folder(folder.online_keys, passphrase),
        clock=lambda: datetime.fromtimestamp(clock(), UTC),
        try_bundle=check_loads if settings.registry.load_models else lambda _bundle: None,
    )
    folder.uploads.mkdir(mode=0o700, exist_ok=True)
    for leftover in folder.uploads.iterdir():
        leftover.unlink()
    registry = Registry(repository, folder.uploads, database, clock, settings.registry.deltas_from)
    if repository.resume():
        log.warning("a change of keys that was cut off is finished")
    registry.sync()
    return registry
