"""The controller's one way to write a file that must be whole after a power cut."""

import os
import secrets
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file_durably(path: Path, data: bytes, *, mode: int = 0o644, group: int | None = None) -> None:
    """Replace `path` by `data`: whole or not at all, and on the disk when this returns. Raises OSError.

    `group` is the id of the group that the file is given to, so that a service of that group can read it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if group is not None and group != os.fstat(file.fileno()).st_gid:
                os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def move_file_durably(source: Path, target: Path) -> None:
    """Give a written file (on the same file system) its final name; raises OSError."""
    descriptor = os.open(source, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    source.replace(target)
    fsync_folder(target.parent)
