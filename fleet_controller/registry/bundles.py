"""Building a bundle from a folder, and measuring one: the same bytes in give the same tar out, on any machine."""

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path
from typing import BinaryIO

from fleet_contract.bundle import BundleError, read_bundle
from fleet_contract.manifest import MANIFEST_NAME, ManifestError, parse_manifest
from fleet_contract.reasons import Reason
from fleet_controller.durable import move_file_durably
from fleet_controller.registry.licences import check_spdx
from fleet_controller.registry.publication import BundleFacts

_CHUNK = 1 << 20


def build_bundle(folder: Path, target: Path) -> BundleFacts:
    """Pack the files that `folder/model.toml` names into `target`, check the result, and return its facts.

    Raises BundleError with the reason code and the text; nothing is left at `target` then.
    """
    try:
        manifest_bytes = (folder / MANIFEST_NAME).read_bytes()
        manifest = parse_manifest(manifest_bytes)
    except OSError as error:
        raise BundleError(Reason.MANIFEST_INVALID, f"{folder / MANIFEST_NAME}: {error.strerror}") from error
    except ManifestError as error:
        raise BundleError(error.reason, str(error)) from error
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            with tarfile.open(fileobj=file, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
                _add(tar, MANIFEST_NAME, io.BytesIO(manifest_bytes), len(manifest_bytes))
                for name in sorted(manifest.entries):
                    with (folder / name).open("rb") as source:
                        _add(tar, name, source, source.seek(0, 2))
            file.flush()
            facts = measure_bundle(temporary)
            temporary.chmod(0o644)
            move_file_durably(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise BundleError(Reason.BUNDLE_INVALID, f"{error.filename or target}: {error.strerror}") from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return facts


def _add(tar: tarfile.TarFile, name: str, source: BinaryIO, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    source.seek(0)
    tar.addfile(member, source)


def measure_bundle(path: Path) -> BundleFacts:
    """Check a bundle file and hash it; raises BundleError, or OSError if it cannot be read."""
    with path.open("rb") as file:
        index = read_bundle(file)
        check_spdx(index.manifest.licence)
        file.seek(0)
        digest = hashlib.sha256()
        length = 0
        while block := file.read(_CHUNK):
            digest.update(block)
            length += len(block)
    return BundleFacts(index.manifest, length, digest.hexdigest())
