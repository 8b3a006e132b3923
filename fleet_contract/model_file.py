"""What the manifest claims of the model file that can be seen in its bytes, without a runtime: sizes and the opset.

Only the outermost fields of an ONNX file are read (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); the graph is
stepped over, so a file of gigabytes costs a few reads.
"""

from typing import BinaryIO, Final

from fleet_contract.manifest import Manifest, ManifestError
from fleet_contract.reasons import Reason

_OPSET_FIELD, _DOMAIN_FIELD, _VERSION_FIELD = 8, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STANDARD: Final = (b"", b"ai.onnx")
_MAX_FIELDS: Final = 100_000
_MAX_OPSET_BYTES: Final = 4096


def check_claims(manifest: Manifest, file: BinaryIO, offset: int, size: int, bundle_bytes: int) -> None:
    """Hold the requirements against the model file, `size` bytes at `offset` of the bundle; raises ManifestError."""
    needs = manifest.requirements
    # Weights are in memory while a model runs, and the bundle is on disk while it is kept.
    for key, least, what in (
        ("memory_peak_bytes", size, "the model file"),
        ("disk_bytes", bundle_bytes, "the bundle"),
    ):
        claimed = getattr(needs, key)
        if 0 < claimed < least:
            text = f"requirements.{key}: {claimed}, but {what} alone has {least} bytes"
            raise ManifestError(text, Reason.SIZE_MISMATCH)
    if needs.opset is None:
        return
    found = read_opset(file, offset, size)
    if found is None:
        raise ManifestError(f"requirements.opset: {manifest.file} is no ONNX file that names one", Reason.OPSET_MISMATCH)
    if found != needs.opset:
        raise ManifestError(f"requirements.opset: {needs.opset}, but {manifest.file} has {found}", Reason.OPSET_MISMATCH)


def read_opset(file: BinaryIO, offset: int, size: int) -> int | None:
    """The version of the standard operators that an ONNX file asks for; None where the bytes tell of none."""
    at, end = offset, offset + size
    for _ in range(_MAX_FIELDS):
        head = _read_varint(file, at, end)
        if head is None:
            return None
        key, at = head
        field, wire = key >> 3, key & 7
        found = _read_varint(file, at, end) if wire in (_VARINT, _BYTES) else None
        if wire == _VARINT and found is not None:
            at = found[1]
        elif wire == _BYTES and found is not None:
            length, at = found
            if at + length > end:
                return None
            if field == _OPSET_FIELD and length <= _MAX_OPSET_BYTES:
                file.seek(at)
                version = _standard_version(file.read(length))
                if version is not None:
                    return version
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            return None
    return None


def _standard_version(entry: bytes) -> int | None:
    """Of an OperatorSetIdProto; None for the operators of another domain."""
    domain, version, at = b"", None, 0
    while at < len(entry):
        head = _varint(entry, at)
        if head is None:
            return None
        key, at = head
        found = _varint(entry, at)
        if found is None or key & 7 not in (_VARINT, _BYTES):
            return None
        value, at = found
        if key & 7 == _BYTES:
            if key >> 3 == _DOMAIN_FIELD:
                domain = entry[at : at + value]
            at += value
        elif key >> 3 == _VERSION_FIELD:
            version = value
    return version if domain in _STANDARD else None


def _read_varint(file: BinaryIO, at: int, end: int) -> tuple[int, int] | None:
    file.seek(at)
    found = _varint(file.read(max(0, min(10, end - at))), 0)
    return None if found is None else (found[0], at + found[1])


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = 0
    for shift, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    return None
