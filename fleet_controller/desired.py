"""The desired state of each device: kept in the database, published retained, with a revision that only grows.

Changes are made inside the caller's transaction; `publish` is called after the commit. A crash in between is mended by
`publish_all` at the next connect.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_contract import topics
from fleet_contract.configuration import DesiredConfiguration
from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_contract.version import CONTRACT_LOW
from fleet_controller.store.database import Database
from fleet_controller.store.slots import Channel, read_slots
from fleet_controller.store.tables import desired

log = logging.getLogger(__name__)


class Publish(Protocol):
    """Hand a message to the fleet broker. False: not connected, the message is dropped."""

    def __call__(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry: float | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> bool: ...


class _Revision(msgspec.Struct):
    revision: int = 0


class DesiredStates:
    """Reads, changes and publishes desired states. Callable from any thread."""

    def __init__(self, database: Database, publish: Publish, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._publish = publish
        self._clock = clock
        # Reading and publishing are one step: otherwise an older revision could overtake a newer one on its way out.
        self._order = threading.Lock()

    def get(self, connection: Connection, device: str) -> Desired:
        """What is desired of `device`; revision 0 when nothing ever was."""
        row = connection.execute(sa.select(desired).where(desired.c.device == device)).first()
        return _to_message(row) if row is not None else Desired(revision=0)

    def release_of(self, connection: Connection, device: str, model: str) -> int | None:
        """The desired release of one model; None when the device is not to have it."""
        return next((entry.release for entry in self.get(connection, device).models if entry.model == model), None)

    def assign(
        self,
        connection: Connection,
        device: str,
        model: str,
        release: int,
        rollout: str | None = None,
        *,
        shadow: bool = True,
    ) -> int:
        """Desire a release of a model; the other models stay. Returns the revision. Publish after the commit."""
        wanted = {"release": release, "rollout": rollout} | ({} if shadow else {"shadow": False})
        return self._change(connection, device, lambda models: models | {model: wanted})

    def configure(self, connection: Connection, device: str, wanted: DesiredConfiguration | None) -> int:
        """Desire a revision of a configuration, or the device's own file alone. Returns the revision of the desired state.

        Publish after the commit.
        """
        return self._change(connection, device, lambda models: models, lambda _before: wanted)

    def remove(self, connection: Connection, device: str, model: str) -> int:
        """Desire that a model is not there. Returns the revision. Publish after the commit."""
        return self._change(connection, device, lambda models: {name: models[name] for name in models if name != model})

    def forget(self, connection: Connection, device: str) -> None:
        """Drop the record of a device that leaves the fleet; then call `publish_nothing` after the commit."""
        connection.execute(sa.delete(desired).where(desired.c.device == device))

    def publish(self, devices: Iterable[str]) -> None:
        """Publish what is desired of these devices now, retained. Without a connection nothing is lost: see `publish_all`."""
        with self._order:
            with self._database.read() as connection:
                messages = [(device, self.get(connection, device)) for device in sorted(set(devices))]
            self._send(messages)

    def publish_all(self) -> None:
        """Publish every desired state: at each connect, because a broker may have lost its retained messages."""
        with self._order:
            with self._database.read() as connection:
                rows = connection.execute(sa.select(desired)).all()
            self._send([(row.device, _to_message(row)) for row in rows])

    def behind(self, devices: Iterable[str]) -> list[str]:
        """Those of these devices whose reported revision is older than the desired one."""
        with self._database.read() as connection:
            return [
                device
                for device in sorted(set(devices))
                if self.get(connection, device).revision > _reported_revision(connection, device)
            ]

    def overtake(self, devices: Iterable[str]) -> list[str]:
        """Raise the revision where a device knows a higher one, so that it takes in what is desired. Returns whom to tell.

        That happens when this database was restored from a backup, or the device was forgotten and added again: the device
        would ignore the lower revision for ever.
        """
        wanted = sorted(set(devices))
        with self._database.read() as connection:
            ahead = [
                device
                for device in wanted
                if 0 < self.get(connection, device).revision < _reported_revision(connection, device)
            ]
        if not ahead:
            return []
        told = []
        with self._database.write() as connection:
            for device in ahead:
                known = _reported_revision(connection, device)
                raised = connection.execute(
                    sa.update(desired)
                    .where(desired.c.device == device, desired.c.revision < known)
                    .values(revision=known + 1, changed=self._clock())
                )
                if raised.rowcount:
                    told.append(device)
        return told

    def publish_nothing(self, device: str) -> None:
        """Clear the retained desired state of a device that left the fleet."""
        with self._order:
            self._publish(topics.down(device, topics.Down.DESIRED), b"", retain=True)

    def _send(self, messages: list[tuple[str, Desired]]) -> None:
        for device, message in messages:
            if message.revision > 0:
                self._publish(topics.down(device, topics.Down.DESIRED), encode(message), retain=True)

    def _change(
        self,
        connection: Connection,
        device: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        configure: Callable[[DesiredConfiguration | None], DesiredConfiguration | None] = lambda before: before,
    ) -> int:
        row = connection.execute(sa.select(desired).where(desired.c.device == device)).first()
        own, before = (row.revision, dict(row.models)) if row is not None else (0, {})
        after = change(before)
        used = _configuration(row) if row is not None else None
        configuration = configure(used)
        if row is not None and after == before and configuration == used:
            return own
        # After a restore from a backup the device may know a higher revision than this database.
        revision = max(own, _reported_revision(connection, device)) + 1
        values = {
            "revision": revision,
            "models": after,
            "configuration": None if configuration is None else msgspec.to_builtins(configuration),
            "changed": self._clock(),
        }
        if row is None:
            connection.execute(sa.insert(desired).values(device=device, **values))
        else:
            connection.execute(sa.update(desired).where(desired.c.device == device).values(**values))
        return revision


def _reported_revision(connection: Connection, device: str) -> int:
    slot = read_slots(connection, [device]).get((device, Channel.REPORTED))
    return msgspec.json.decode(slot.payload, type=_Revision).revision if slot is not None else 0


def _configuration(row: Any) -> DesiredConfiguration | None:
    return None if row.configuration is None else msgspec.convert(row.configuration, DesiredConfiguration)


def _to_message(row: Any) -> Desired:
    return Desired(
        revision=row.revision,
        models=tuple(
            DesiredModel(model=name, release=entry["release"], rollout=entry["rollout"], shadow=entry.get("shadow", True))
            for name, entry in sorted(row.models.items())
        ),
        configuration=_configuration(row),
        contract=CONTRACT_LOW,
    )
