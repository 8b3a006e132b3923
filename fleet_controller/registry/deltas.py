"""Deltas between releases: made in the background after a publication, kept if they save enough, served as static files.

    repository/deltas/{from}-{to}.delta   worth asking for
    repository/deltas/{from}-{to}.none    tried, and too large: not tried again

They need no signature, and none of their names is in the metadata: what a device makes from one has to have the signed hash.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fleet_contract.delta import DELTA_SUFFIX, delta_name
from fleet_controller.durable import fsync_folder
from fleet_controller.registry.publication import PublishedRelease

LARGEST: Final = 0.7
"""Of the whole bundle's bytes; a larger delta saves too little to be kept."""
LONGEST_SECONDS: Final = 1800.0
_MAKE: Final = (sys.executable, "-m", "fleet_controller.registry.delta_making")
_NONE_SUFFIX: Final = ".none"

log = logging.getLogger(__name__)


def wanted_pairs(
    releases: Sequence[PublishedRelease], floors: Mapping[str, int], earlier: int
) -> list[tuple[PublishedRelease, PublishedRelease]]:
    """(from, to) of each delta that is worth having: to the newest release of a model from `earlier` ones, the nearest first.

    From the same variant: those of one release have little in common but their manifest.
    """
    pairs = []
    for model in sorted({item.release.model for item in releases}):
        line = [item for item in releases if item.release.model == model]
        newest = max(item.release.release for item in line)
        if newest < floors.get(model, 0):
            continue
        for target in (item for item in line if item.release.release == newest):
            # One that was revoked is no release to go to, but a device may still have it.
            before = [
                item
                for item in line
                if item.release.release < newest
                and item.release.variant == target.release.variant
                and item.sha256 != target.sha256
            ]
            before.sort(key=lambda item: item.release.release, reverse=True)
            pairs += [(item, target) for item in before[:earlier]]
    return pairs


class Deltas:
    """Keeps the folder of deltas in step with the repository, one delta at a time, in a process of lowest priority."""

    def __init__(
        self,
        folder: Path,
        *,
        releases: Callable[[], Sequence[PublishedRelease]],
        floors: Callable[[], Mapping[str, int]],
        file_of: Callable[[PublishedRelease], Path],
        earlier: int,
    ) -> None:
        """`folder` is the repository's. `file_of`: where a release's bundle lies. `earlier`: releases to start from."""
        self.folder = folder / "deltas"
        self._releases, self._floors, self._file_of, self._earlier = releases, floors, file_of, earlier
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._making: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="deltas", daemon=True)

    def start(self) -> None:
        """Begin with what is missing."""
        self._wake.set()
        self._thread.start()

    def published(self) -> None:
        """There is a new release, or an old one was revoked."""
        self._wake.set()

    def stop(self) -> None:
        """End; what is half made is made anew after the next start."""
        self._stopping.set()
        self._wake.set()
        making = self._making
        if making is not None:
            making.kill()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def list(self) -> dict[str, dict[str, int]]:
        """Digest in hex of a release to those that a delta leads to it from, with the delta's bytes."""
        found: dict[str, dict[str, int]] = {}
        for path in self.folder.glob(f"*-*{DELTA_SUFFIX}"):
            base, _, target = path.stem.partition("-")
            found.setdefault(target, {})[base] = path.stat().st_size
        return found

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                self.bring_up_to_date()
            except Exception:  # the thread's boundary: the next release is looked at again
                log.exception("deltas not made")

    def bring_up_to_date(self) -> None:
        """Make what is missing and remove what nobody asks for any more. Raises OSError and PublicationError."""
        self.folder.mkdir(exist_ok=True)
        pairs = wanted_pairs(self._releases(), self._floors(), self._earlier)
        names = {delta_name(base.sha256, target.sha256) for base, target in pairs}
        for path in self.folder.iterdir():
            if path.with_suffix(DELTA_SUFFIX).name not in names:
                path.unlink()
        for base, target in pairs:
            path = self.folder / delta_name(base.sha256, target.sha256)
            if self._stopping.is_set() or self._wake.is_set():
                return  # a newer release is more urgent; this one's turn comes again
            if not path.exists() and not path.with_suffix(_NONE_SUFFIX).exists():
                self._make(base, target, path)

    def _make(self, base: PublishedRelease, target: PublishedRelease, path: Path) -> None:
        fields: dict[str, object] = {"model": target.release.model, "variant": target.release.variant}
        fields |= {"from": base.release.release, "to": target.release.release}
        made = path.with_suffix(".made")
        command = [*_MAKE, str(self._file_of(base)), str(self._file_of(target)), str(made)]
        self._making = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if self._stopping.is_set():
            self._making.kill()
        try:
            _, errors = self._making.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            self._making.kill()
            self._making.communicate()
            errors = b"it took too long"
        status, self._making = self._making.returncode, None
        if self._stopping.is_set():
            return
        if status:
            made.unlink(missing_ok=True)
            detail = errors.decode(errors="replace").strip().rpartition("\n")[2]
            log.error("no delta made", extra={**fields, "error": detail or f"ended by signal {-status}"})
            if status < 0:
                return  # says nothing of the two bundles: its turn comes again
        elif (size := made.stat().st_size) > target.length * LARGEST:
            made.unlink()
            log.info("a delta saves too little", extra={**fields, "bytes": size, "whole": target.length})
        else:
            made.replace(path)
            fsync_folder(self.folder)
            log.info("delta made", extra={**fields, "bytes": size, "whole": target.length})
            return
        path.with_suffix(_NONE_SUFFIX).touch()
