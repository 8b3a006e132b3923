"""Bundles in and out: the source is a folder or a tar, and an accepted variant is written in the same form."""

import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from fleet_contract.bundle import BundleError, BundleIndex, read_bundle
from fleet_contract.manifest import MANIFEST_NAME, GoldenSample, Manifest, Requirements
from fleet_contract.reasons import Reason
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.manifest_text import manifest_toml
from fleet_controller.variants.kinds import MEANING, Kind

NEEDS: Final = {"MatMulNBits": "1.17"}
"""Operators that only the tools put into a file, and the first version of ONNX Runtime that has them."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bundle that variants are made of."""

    tar: Path
    """In the folder for passing things."""
    is_folder: bool
    manifest: Manifest
    golden: tuple[GoldenSample, ...]
    files: dict[str, bytes]
    """Every entry by name."""

    @property
    def model(self) -> bytes:
        """The model file."""
        return self.files[self.manifest.file]


def open_source(path: Path, scratch: Path) -> Source:
    """Read a bundle's folder or tar; raises BundleError and OSError."""
    tar = path
    if path.is_dir():
        tar = scratch / "source.tar"
        build_bundle(path, tar)
    with tar.open("rb") as file:
        index: BundleIndex = read_bundle(file)
        files = {}
        for entry in index.entries.values():
            file.seek(entry.offset)
            files[entry.name] = file.read(entry.size)
    return Source(tar, path.is_dir(), index.manifest, index.golden, files)


def variant_manifest(source: Manifest, kind: Kind, operators: Iterable[str]) -> Manifest:
    """The manifest of a variant whose file has these operators, before anything was measured."""
    stem, dot, ending = source.file.rpartition(".")
    needed = [NEEDS[name] for name in operators if name in NEEDS]
    if source.requirements.runtime_min is not None:
        needed.append(source.requirements.runtime_min)
    lowest = max(needed, key=_numbers, default=None)
    return msgspec.structs.replace(
        source,
        variant=kind.value,
        file=f"{stem}.{kind.value}.{ending}" if dot else f"{source.file}.{kind.value}",
        description=f"{source.description} Variant {kind.value} of {source.version}: {MEANING[kind]}.".strip(),
        requirements=Requirements(
            memory_bytes=source.requirements.memory_bytes,
            runtime_min=lowest,
            runtime_max=source.requirements.runtime_max,
            accelerators=source.requirements.accelerators,
        ),
        metrics={},
        metrics_data="",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def write_folder(source: Source, manifest: Manifest, model: bytes, tolerance: float | None, folder: Path) -> None:
    """Write a variant's folder: everything that the source has, with this manifest, model, and tolerance of the samples."""
    folder.mkdir(parents=True)
    of_source = {MANIFEST_NAME, source.manifest.file, source.manifest.golden}
    for name, data in source.files.items():
        if name not in of_source:
            (folder / name).write_bytes(data)
    golden = source.files[source.manifest.golden]
    if tolerance is not None:
        golden = golden_text(tuple(msgspec.structs.replace(sample, tolerance=tolerance) for sample in source.golden))
    (folder / MANIFEST_NAME).write_text(manifest_toml(manifest), encoding="utf-8")
    (folder / manifest.file).write_bytes(model)
    (folder / manifest.golden).write_bytes(golden)


def golden_text(samples: tuple[GoldenSample, ...]) -> bytes:
    """Golden samples as JSON, one to a line, without what is empty."""
    rows = []
    for sample in samples:
        row = {key: value for key, value in msgspec.to_builtins(sample).items() if value not in (None, {}, ())}
        rows.append(msgspec.json.encode(row))
    return b"[\n" + b",\n".join(rows) + b"\n]\n"


def bundle_name(manifest: Manifest) -> str:
    """What a bundle's file is called, without its ending: `leak-2.0.0-int8`."""
    return "-".join(filter(None, (manifest.name, manifest.version, manifest.variant)))


def give_out(folder: Path, manifest: Manifest, out: Path, *, as_folder: bool) -> Path:
    """Put a written variant into `out`, as a folder or a tar, in place of one of the same name; returns where it lies.

    Raises OSError, and BundleError if something that is no bundle's folder stands there.
    """
    out.mkdir(parents=True, exist_ok=True)
    name = bundle_name(manifest)
    if not as_folder:
        target = out / f"{name}.tar"
        build_bundle(folder, target)
        return target
    target = out / name
    if target.exists() and not (target / MANIFEST_NAME).is_file():
        raise BundleError(Reason.BUNDLE_INVALID, f"{target} stands there and is no bundle's folder; it is left alone")
    arriving = out / f".{name}.{secrets.token_hex(4)}"
    shutil.copytree(folder, arriving)
    if target.exists():
        shutil.rmtree(target)
    arriving.rename(target)
    return target
