"""Deltas between real bundles, made in the real process."""

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.updates.trust.delta import apply_delta
from fleet_contract.bundle import BundleError, read_bundle
from fleet_contract.delta import MARGIN_BYTES, PIECE_BYTES, delta_name, read_header
from fleet_contract.trust import Release
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.delta_making import make_delta, source_of
from fleet_controller.registry.deltas import Deltas, wanted_pairs
from fleet_controller.registry.publication import PublishedRelease

Make = Callable[..., Path]


def bundle(tmp_path: Path, model_folder: Make, version: str, content: bytes, note: str = "") -> Path:
    folder = model_folder("frost", version, content)
    manifest = folder / "model.toml"
    manifest.write_text(manifest.read_text().replace("licence", f'description = "{note}"\nlicence', 1))
    path = tmp_path / f"{version}.tar"
    build_bundle(folder, path)
    return path


def patched(old: Path, delta: Path) -> tuple[bytes, str]:
    made = io.BytesIO()
    with delta.open("rb") as packed, old.open("rb") as base:
        digest = apply_delta(read_header(packed), packed, base, made)
    return made.getvalue(), digest


def published(path: Path, release: int, model: str = "frost", variant: str | None = None) -> PublishedRelease:
    data = path.read_bytes()
    return PublishedRelease(
        Release(model=model, version=f"{release}.0.0", release=release, floor=0, variant=variant),
        len(data),
        hashlib.sha256(data).hexdigest(),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(5_000_000, 5_000_000, id="the same size"),
        pytest.param(5_000_000, 9_000_000, id="grown"),
        pytest.param(9_000_000, 100_000, id="shrunk"),
        pytest.param(0, 100, id="from nothing"),
    ],
)
def test_a_delta_makes_the_new_bundle_to_the_byte(tmp_path: Path, model_folder: Make, before: int, after: int) -> None:
    content = random.Random(3).randbytes(max(before, after))
    old = bundle(tmp_path, model_folder, "1.0.0", content[:before] + b"old")
    new = bundle(tmp_path, model_folder, "1.1.0", content[:after] + b"new", note="longer" * 500)
    make_delta(old, new, tmp_path / "delta")
    data, digest = patched(old, tmp_path / "delta")
    assert data == new.read_bytes()
    assert digest == hashlib.sha256(data).hexdigest()


def test_a_delta_costs_little_more_than_what_has_changed_though_all_offsets_have_shifted(
    tmp_path: Path, model_folder: Make
) -> None:
    content = random.Random(3).randbytes(10_000_000)
    old = bundle(tmp_path, model_folder, "1.0.0", content)
    changed = content[:6_000_000] + b"changed" * 1000 + content[6_007_000:]
    new = bundle(tmp_path, model_folder, "1.1.0", changed, "x" * 3_000_000)
    make_delta(old, new, tmp_path / "delta")
    assert (tmp_path / "delta").stat().st_size < 20_000


def test_the_old_part_is_the_same_place_of_the_same_entry_and_a_margin(tmp_path: Path, model_folder: Make) -> None:
    content = bytes(20_000_000)
    old = bundle(tmp_path, model_folder, "1.0.0", content)
    new = bundle(tmp_path, model_folder, "1.1.0", content, "x" * 3_000_000)
    with old.open("rb") as before, new.open("rb") as after:
        indexes = read_bundle(before), read_bundle(after)
    size = old.stat().st_size
    shift = indexes[0].entries["model.onnx"].offset - indexes[1].entries["model.onnx"].offset
    assert shift < -2 * MARGIN_BYTES
    start, length = source_of(2 * PIECE_BYTES, PIECE_BYTES, *indexes, size)
    assert (start, length) == (2 * PIECE_BYTES + shift - MARGIN_BYTES, PIECE_BYTES + 2 * MARGIN_BYTES)
    for place in range(0, new.stat().st_size, PIECE_BYTES):
        first, count = source_of(place, PIECE_BYTES, *indexes, size)
        assert 0 <= first <= first + count <= size


def test_what_is_no_bundle_leaves_nothing_behind(tmp_path: Path, model_folder: Make) -> None:
    old = bundle(tmp_path, model_folder, "1.0.0", b"weights")
    (tmp_path / "noise").write_bytes(b"noise" * 1000)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BundleError):
        make_delta(old, tmp_path / "noise", out / "delta")
    assert list(out.iterdir()) == []


def test_deltas_lead_to_the_newest_release_of_each_model_from_the_last_ones(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    releases = []
    for number in range(1, 7):
        (tmp_path / "x").write_bytes(b"frost%d" % number)
        releases.append(published(tmp_path / "x", number))
    releases.append(published(tmp_path / "x", 1, "leak"))
    pairs = [(base.release.release, target.release.release) for base, target in wanted_pairs(releases, {}, 3)]
    newest = 6
    assert pairs == [(newest - step, newest) for step in range(1, 4)]
    assert wanted_pairs(releases, {"frost": newest + 1}, 3) == []
    assert wanted_pairs(releases, {}, 0) == []


def test_a_delta_never_leads_from_one_variant_to_another(tmp_path: Path) -> None:
    releases = []
    for number, variant in ((1, "fp32"), (1, "int8"), (2, "int8"), (2, "fp32"), (3, "int8")):
        (tmp_path / "x").write_bytes(f"{number}{variant}".encode())
        releases.append(published(tmp_path / "x", number, variant=variant))
    pairs = [(base.release.release, target.release.variant) for base, target in wanted_pairs(releases, {}, 3)]
    assert pairs == [(2, "int8"), (1, "int8")]
    assert all(base.release.variant == target.release.variant for base, target in wanted_pairs(releases[:4], {}, 3))
    assert len(wanted_pairs(releases[:4], {}, 3)) == 2


class Shelf:
    """Releases and their files, as the repository gives them."""

    def __init__(self, folder: Path) -> None:
        self.files: list[Path] = []
        self.deltas = Deltas(
            folder,
            releases=lambda: [published(path, number) for number, path in enumerate(self.files, 1)],
            floors=dict,
            earlier=3,
            file_of=lambda release: self.files[release.release.release - 1],
        )


def test_what_is_worth_it_is_made_listed_and_removed_when_a_newer_release_comes(tmp_path: Path, model_folder: Make) -> None:
    shelf = Shelf(tmp_path)
    content = random.Random(3).randbytes(300_000)
    other = random.Random(4).randbytes(300_000)
    for version, each in (("1.0.0", other), ("2.0.0", content), ("3.0.0", content + b"more")):
        shelf.files.append(bundle(tmp_path, model_folder, version, each))
    shelf.deltas.bring_up_to_date()
    digests = [published(path, 1).sha256 for path in shelf.files]
    first = shelf.deltas.list()
    assert {target: set(bases) for target, bases in first.items()} == {digests[2]: {digests[1]}}
    assert 0 < first[digests[2]][digests[1]] < 10_000
    names = {path.name for path in shelf.deltas.folder.iterdir()}
    assert names == {
        delta_name(digests[1], digests[2]),
        delta_name(digests[0], digests[2]).replace(".delta", ".none"),
    }
    shelf.files.append(bundle(tmp_path, model_folder, "4.0.0", content + b"even more"))
    shelf.deltas.bring_up_to_date()
    newest = published(shelf.files[3], 4).sha256
    assert {target: set(bases) for target, bases in shelf.deltas.list().items()} == {newest: {digests[1], digests[2]}}


def test_one_that_cannot_be_made_is_told_and_not_tried_again(
    tmp_path: Path, model_folder: Make, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(tmp_path)
    (tmp_path / "noise").write_bytes(b"noise")
    shelf.files += [tmp_path / "noise", bundle(tmp_path, model_folder, "2.0.0", b"weights")]
    for _ in range(2):
        shelf.deltas.bring_up_to_date()
    assert [record.message for record in caplog.records] == ["no delta made"]
    assert "not an uncompressed tar" in caplog.records[0].error  # type: ignore[attr-defined]
    assert shelf.deltas.list() == {}


def test_deltas_are_made_in_the_background_and_it_stops_at_once(tmp_path: Path, model_folder: Make) -> None:
    shelf = Shelf(tmp_path)
    content = random.Random(3).randbytes(60_000_000)
    shelf.files += [bundle(tmp_path, model_folder, version, content + version.encode()) for version in ("1.0.0", "2.0.0")]
    shelf.deltas.start()
    while shelf.deltas._making is None:
        pass
    making = shelf.deltas._making
    shelf.deltas.stop()
    assert making.returncode == -9
    assert not shelf.deltas._thread.is_alive()
    assert shelf.deltas.list() == {}
