"""The one place where files are made to survive a power cut: temporary file, fsync, rename, fsync of the folder."""

import os
import shutil
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries durable (names of files made, renamed or removed in it). Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the content of a file that is already there durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file_durably(path: Path, data: bytes, *, mode: int = 0o640) -> None:
    """Replace `path` by `data`; after a power cut it holds the old bytes or the new ones, never a part. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def move_file_durably(source: Path, target: Path) -> None:
    """Give a finished file its final name on the same file system, replacing what is there. Raises OSError."""
    fsync_file(source)
    source.replace(target)
    fsync_folder(target.parent)
    if source.parent != target.parent:
        fsync_folder(source.parent)


def replace_folder_durably(source: Path, target: Path) -> None:
    """Give a finished folder of plain files its final name, replacing what is there. Raises OSError.

    Every file in `source` is synced first. A folder cannot be replaced in one step, so an old `target` is moved aside and
    removed: a power cut in between leaves no `target`, never a mixed one.
    """
    for entry in source.iterdir():
        fsync_file(entry)
    fsync_folder(source)
    aside = target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    source.rename(target)
    fsync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
