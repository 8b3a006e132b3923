"""The folder `configuration` in the state folder: the record, and the verified files that it names.

A file and not agent.db holds the record, because it is needed before agent.db can be opened: the configuration may be what
keeps the agent from starting. One process writes it at a time: the validating child at the start, then the daemon.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.configuring.record import Layer, Record
from edge_agent.durable import write_file_durably

RECORD: Final = "state.json"


class DamagedLayer(ValueError):
    """A stored file is not what was verified; the text says how."""


class Folder:
    """Reads and writes durably; every write is whole or not at all."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "configuration"

    def load(self) -> Record:
        """The record; an empty one where there is none yet. Raises OSError, and ValueError if it does not decode."""
        try:
            data = (self.path / RECORD).read_bytes()
        except FileNotFoundError:
            return Record()
        try:
            return msgspec.json.decode(data, type=Record)
        except msgspec.DecodeError as error:
            raise ValueError(f"{self.path / RECORD}: {error}") from error

    def save(self, record: Record) -> None:
        """Write the record. Raises OSError, and then the old one stands."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_file_durably(self.path / RECORD, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")

    def file_of(self, layer: Layer) -> Path:
        """Where a revision's file lies."""
        return self.path / f"{layer.name}.{layer.revision}.toml"

    def read(self, layer: Layer) -> bytes:
        """The bytes of a revision, checked against its digest. Raises OSError and DamagedLayer."""
        data = self.file_of(layer).read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if digest != layer.digest:
            raise DamagedLayer(f"{self.file_of(layer)} has {digest}, verified was {layer.digest}")
        return data

    def add(self, layer: Layer, data: bytes) -> None:
        """Keep the bytes of a revision. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_file_durably(self.file_of(layer), data)

    def keep(self, *layers: Layer | None) -> None:
        """Remove the files of all other revisions. What cannot be removed costs some bytes and nothing else."""
        wanted = {self.file_of(layer) for layer in layers if layer is not None}
        for file in self.path.glob("*.toml"):
            if file not in wanted:
                with contextlib.suppress(OSError):
                    file.unlink()
