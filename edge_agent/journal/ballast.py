"""A file of real blocks beside agent.db that is given up when the disk is full.

On a full disk SQLite cannot even delete: a delete is written to the WAL first. The blocks of this file are room for deletes,
acknowledgements and notes, and so for the outbox to drain. It is made again when there is space.
"""

import logging
import os
from pathlib import Path

from edge_agent.durable import fsync_folder

log = logging.getLogger(__name__)


class Ballast:
    """The file `path` of `size` bytes; a size of 0 is none."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size
        self.there = False
        """Whether the file is there in full."""
        self.given_up = 0
        """How many times."""

    @property
    def missing(self) -> int:
        """Bytes that are to be held back for deletes because the file does not do it now."""
        return 0 if self.there else self.size

    def make(self, spare: int) -> bool:
        """Have the file if it takes no more than `spare` bytes of the disk; whether it is there."""
        try:
            have = self._path.stat().st_blocks * 512
        except OSError:
            have = 0
        self.there = self.size > 0 and have >= self.size
        if self.there:
            return True
        if not self.size:
            self._remove()  # of an earlier configuration
            return False
        if spare < self.size:
            return False
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fsync_folder(self._path.parent)
        except OSError as error:
            log.warning("the ballast file cannot be made", extra={"path": str(self._path), "error": str(error)})
            self._remove()
            return False
        self.there = True
        return True

    def give_up(self) -> bool:
        """Remove the file; whether there was one, so that there is more space now."""
        if not self._remove():
            return False
        self.there = False
        self.given_up += 1
        log.warning("the disk is full, the ballast file is given up", extra={"path": str(self._path), "bytes": self.size})
        return True

    def _remove(self) -> bool:
        try:
            self._path.unlink()
            fsync_folder(self._path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.error("the ballast file cannot be removed", extra={"path": str(self._path), "error": str(error)})
            return False
        return True
