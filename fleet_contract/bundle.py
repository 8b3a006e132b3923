"""The bundle: one uncompressed tar of plain files, checked whole before anything in it is unpacked or loaded.

The same checks run in `fleet model build`, in the controller and on the device. They work on a seekable binary file that
the caller has opened, and never write.
"""

import tarfile
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from fleet_contract.baseline import MAX_BASELINE_BYTES, Baseline, parse_baseline
from fleet_contract.manifest import (
    MANIFEST_NAME,
    GoldenSample,
    Manifest,
    ManifestError,
    parse_golden,
    parse_manifest,
)
from fleet_contract.model_file import check_claims
from fleet_contract.reasons import Reason

MAX_BUNDLE_BYTES: Final = 2 * 1024**3
MAX_ENTRIES: Final = 32
MAX_TEXT_BYTES: Final = 8 * 1024**2
"""Of `model.toml` and the golden samples, which are read into memory."""
MAX_TOKENIZER_BYTES: Final = 32 * 1024**2


class BundleError(ValueError):
    """The bundle is refused. `reason` is the code that travels; the text says what and where."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """One file in the tar: where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class BundleIndex:
    """A checked bundle."""

    manifest: Manifest
    golden: tuple[GoldenSample, ...]
    entries: dict[str, BundleEntry]
    baseline: Baseline | None = None
    """What drift is measured against, where the maker gave it."""


def read_bundle(file: BinaryIO, *, max_bytes: int = MAX_BUNDLE_BYTES) -> BundleIndex:
    """Check a bundle and return its manifest, golden samples and index.

    Raises BundleError: links, devices, folders, sparse files, duplicate names, names with a slash or a leading dot, more or
    fewer entries than the manifest names, or sizes over the limits.
    """
    file.seek(0, 2)
    size = file.tell()
    if size > max_bytes:
        raise BundleError(Reason.BUNDLE_TOO_LARGE, f"bundle has {size} bytes, allowed are {max_bytes}")
    file.seek(0)
    entries = _list_entries(file)
    try:
        manifest = parse_manifest(_read_text(file, entries, MANIFEST_NAME))
        wanted = {MANIFEST_NAME, *manifest.entries}
        for name in sorted(wanted - set(entries)):
            raise BundleError(Reason.BUNDLE_INVALID, f"entry {name!r}, which the manifest names, is missing")
        for name in sorted(set(entries) - wanted):
            raise BundleError(Reason.BUNDLE_INVALID, f"entry {name!r} is not named by the manifest")
        if manifest.tokenizer is not None:
            _check_size(entries[manifest.tokenizer], MAX_TOKENIZER_BYTES)
        model = entries[manifest.file]
        check_claims(manifest, file, model.offset, model.size, size)
        golden = parse_golden(_read_text(file, entries, manifest.golden), manifest)
        baseline = None
        if manifest.baseline is not None:
            _check_size(entries[manifest.baseline], MAX_BASELINE_BYTES)
            baseline = parse_baseline(_read_text(file, entries, manifest.baseline), manifest)
    except ManifestError as error:
        raise BundleError(error.reason, str(error)) from error
    return BundleIndex(manifest, golden, entries, baseline)


class _HeaderReader:
    """The file as tarfile sees it: only headers are read there, so a header cannot make it read all or without a bound."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; raises tarfile.ReadError for what no honest header needs."""
        if not 0 <= size <= MAX_TEXT_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _list_entries(file: BinaryIO) -> dict[str, BundleEntry]:
    entries: dict[str, BundleEntry] = {}
    try:
        with tarfile.open(fileobj=cast("BinaryIO", _HeaderReader(file)), mode="r:") as tar:
            for member in tar:
                name = member.name
                if member.size < 0:
                    raise BundleError(Reason.BUNDLE_INVALID, f"entry {name!r} has a negative size")
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
                    raise BundleError(Reason.ENTRY_KIND, f"entry {name!r} is not a plain file")
                if "/" in name or "\\" in name or "\0" in name or name.startswith(".") or not name:
                    raise BundleError(Reason.ENTRY_NAME, f"entry {name!r} is not a plain file name")
                if name in entries:
                    raise BundleError(Reason.ENTRY_TWICE, f"entry {name!r} stands twice")
                if len(entries) >= MAX_ENTRIES:
                    raise BundleError(Reason.BUNDLE_INVALID, f"more than {MAX_ENTRIES} entries")
                entries[name] = BundleEntry(name, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, UnicodeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(Reason.BUNDLE_INVALID, f"not an uncompressed tar: {error}") from error
    file.seek(0, 2)
    end = file.tell()
    for entry in entries.values():
        if entry.offset + entry.size > end:
            raise BundleError(Reason.BUNDLE_INVALID, f"entry {entry.name!r} is cut off")
    return entries


def _read_text(file: BinaryIO, entries: dict[str, BundleEntry], name: str) -> bytes:
    entry = entries.get(name)
    if entry is None:
        raise BundleError(Reason.BUNDLE_INVALID, f"entry {name!r} is missing")
    _check_size(entry, MAX_TEXT_BYTES)
    file.seek(entry.offset)
    return file.read(entry.size)


def _check_size(entry: BundleEntry, allowed: int) -> None:
    if entry.size > allowed:
        raise BundleError(Reason.BUNDLE_TOO_LARGE, f"entry {entry.name!r} has {entry.size} bytes, allowed are {allowed}")
