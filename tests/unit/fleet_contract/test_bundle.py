import gzip
import io
import tarfile
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet_contract.bundle import MAX_ENTRIES, MAX_TEXT_BYTES, BundleError, read_bundle
from fleet_contract.reasons import Reason

Entry = tuple[tarfile.TarInfo, bytes]
MakeEntry = Callable[..., Entry]
Pack = Callable[..., bytes]


def refusal(data: bytes, **limits: int) -> BundleError:
    with pytest.raises(BundleError) as caught:
        read_bundle(io.BytesIO(data), **limits)
    return caught.value


class CountingFile(io.BytesIO):
    """Remembers the largest read that was asked for; a negative one, which means all, for good."""

    largest_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        asked = -1 if size is None else size
        self.largest_read = asked if asked < 0 or self.largest_read < 0 else max(asked, self.largest_read)
        return super().read(size)


def with_size_field(data: bytes, at: int, field: bytes) -> bytes:
    """The tar with the 12 bytes of a header's size replaced, and its checksum made right again."""
    header = bytearray(data[at : at + 512])
    header[124:136] = field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:at] + bytes(header) + data[at + 512 :]


def test_a_right_bundle_is_read_with_the_places_of_its_entries(good_entries: list[Entry], pack: Pack) -> None:
    data = pack(good_entries)
    index = read_bundle(io.BytesIO(data))
    place = index.entries["frost.onnx"]
    assert data[place.offset : place.offset + place.size] == b"not read here"
    assert (index.manifest.name, len(index.golden)) == ("frost", 1)


@pytest.mark.parametrize("name", ["../frost.onnx", "/etc/passwd", "a/frost.onnx", "..", ".hidden", "a\\b", "."])
def test_a_name_that_could_lead_elsewhere_is_refused(
    name: str, good_entries: list[Entry], entry: MakeEntry, pack: Pack
) -> None:
    error = refusal(pack([*good_entries, entry(name, b"x")]))
    assert error.reason is Reason.ENTRY_NAME
    assert "plain file name" in str(error)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("a symbolic link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("a hard link", {"type": tarfile.LNKTYPE, "linkname": "model.toml"}),
        ("a character device", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}),
        ("a block device", {"type": tarfile.BLKTYPE}),
        ("a pipe", {"type": tarfile.FIFOTYPE}),
        ("a folder", {"type": tarfile.DIRTYPE}),
        ("a contiguous file", {"type": tarfile.CONTTYPE}),
    ],
)
def test_what_is_not_a_plain_file_is_refused(
    kind: str, fields: dict[str, object], good_entries: list[Entry], entry: MakeEntry, pack: Pack
) -> None:
    error = refusal(pack([*good_entries, entry("other", **fields)]))
    assert (error.reason, str(error)) == (Reason.ENTRY_KIND, "entry 'other' is not a plain file"), kind


def test_a_sparse_file_is_refused(good_entries: list[Entry], pack: Pack) -> None:
    """As GNU tar writes it in the pax format: a plain entry whose pax header names the real size."""
    info = tarfile.TarInfo("frost.onnx")
    content = b"1\n0\n1\n".ljust(512, b"\0") + b"x".ljust(512, b"\0")
    info.size = len(content)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
    model, _, golden = good_entries
    error = refusal(pack([model, (info, content), golden], tarfile.PAX_FORMAT))
    assert (error.reason, str(error)) == (Reason.ENTRY_KIND, "entry 'frost.onnx' is not a plain file")


def test_an_old_sparse_file_is_refused(good_entries: list[Entry], entry: MakeEntry, pack: Pack) -> None:
    error = refusal(pack([*good_entries, entry("other", type=tarfile.GNUTYPE_SPARSE)]))
    assert error.reason is Reason.ENTRY_KIND


def test_a_name_that_stands_twice_is_refused(good_entries: list[Entry], entry: MakeEntry, pack: Pack) -> None:
    error = refusal(pack([*good_entries, entry("frost.onnx", b"another")]))
    assert (error.reason, str(error)) == (Reason.ENTRY_TWICE, "entry 'frost.onnx' stands twice")


def test_an_entry_that_the_manifest_does_not_name_is_refused(good_entries: list[Entry], entry: MakeEntry, pack: Pack) -> None:
    error = refusal(pack([*good_entries, entry("extra.so", b"\x7fELF")]))
    assert (error.reason, str(error)) == (Reason.BUNDLE_INVALID, "entry 'extra.so' is not named by the manifest")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_entry_is_named(missing: int, good_entries: list[Entry], pack: Pack) -> None:
    name = good_entries[missing][0].name
    error = refusal(pack([each for position, each in enumerate(good_entries) if position != missing]))
    assert error.reason is Reason.BUNDLE_INVALID
    assert repr(name) in str(error)


def test_too_many_entries_are_refused(entry: MakeEntry, pack: Pack) -> None:
    error = refusal(pack([entry(f"file{number}", b"x") for number in range(MAX_ENTRIES + 1)]))
    assert (error.reason, str(error)) == (Reason.BUNDLE_INVALID, f"more than {MAX_ENTRIES} entries")


@pytest.mark.parametrize("left", [1536, 600, 300])
def test_a_tar_that_was_cut_off_is_refused(left: int, good_entries: list[Entry], pack: Pack) -> None:
    assert refusal(pack(good_entries)[:left]).reason is Reason.BUNDLE_INVALID


def test_an_entry_that_reaches_behind_the_end_is_refused(entry: MakeEntry, pack: Pack, manifest_text: bytes) -> None:
    data = pack([entry("golden.json", b"[]"), entry("model.toml", manifest_text), entry("frost.onnx", b"x" * 2000)])
    at = data.index(b"frost.onnx\0")
    error = refusal(data[: at + 512 + 1000])
    assert error.reason is Reason.BUNDLE_INVALID


@pytest.mark.parametrize("field", [b"\xff" * 12, b"\xff" * 11 + b"\x00", b"\x80" + b"\xff" * 11], ids=["-1", "-256", "huge"])
def test_a_size_that_is_negative_or_beyond_all_bounds_is_refused(field: bytes, good_entries: list[Entry], pack: Pack) -> None:
    data = pack(good_entries)
    for name in (b"model.toml\0", b"frost.onnx\0", b"golden.json\0"):
        assert refusal(with_size_field(data, data.index(name), field)).reason is Reason.BUNDLE_INVALID


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("field", [b"\xff" * 12, b"\xff" * 10 + b"\x00\x00", b"\x80" + b"\x7f" * 11, b"77777777777"])
def test_an_extension_header_cannot_make_the_check_read_without_bound(
    kind: bytes, field: bytes, good_entries: list[Entry], entry: MakeEntry, pack: Pack
) -> None:
    data = with_size_field(pack([entry("extension", b"x" * 100, type=kind), *good_entries]), 0, field)
    file = CountingFile(data)
    with pytest.raises(BundleError) as caught:
        read_bundle(file)
    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert 0 <= file.largest_read <= MAX_TEXT_BYTES


def test_a_compressed_tar_is_refused(good_entries: list[Entry], pack: Pack) -> None:
    assert refusal(gzip.compress(pack(good_entries))).reason is Reason.BUNDLE_INVALID


def test_a_bundle_over_the_limit_is_refused_before_it_is_read(good_entries: list[Entry], pack: Pack) -> None:
    data = pack(good_entries)
    error = refusal(data, max_bytes=len(data) - 1)
    assert error.reason is Reason.BUNDLE_TOO_LARGE
    assert read_bundle(io.BytesIO(data), max_bytes=len(data)).manifest.name == "frost"


def test_a_text_entry_over_the_limit_is_refused_before_it_is_read(
    good_entries: list[Entry], entry: MakeEntry, pack: Pack
) -> None:
    model, onnx, _ = good_entries
    error = refusal(pack([model, onnx, entry("golden.json", b" " * (MAX_TEXT_BYTES + 1))]))
    assert error.reason is Reason.BUNDLE_TOO_LARGE


def test_a_manifest_that_is_wrong_is_refused_with_its_own_reason(entry: MakeEntry, pack: Pack) -> None:
    error = refusal(pack([entry("model.toml", b"schema = 1")]))
    assert error.reason is Reason.MANIFEST_INVALID


def test_golden_samples_that_do_not_fit_the_manifest_are_refused(
    good_entries: list[Entry], entry: MakeEntry, pack: Pack
) -> None:
    model, onnx, _ = good_entries
    error = refusal(pack([model, onnx, entry("golden.json", b'[{"window": {"temp_max": [1.0]}, "scores": [0.9]}]')]))
    assert error.reason is Reason.GOLDEN_INVALID
    assert "golden.json[0].window" in str(error)


@given(st.binary(max_size=3000))
def test_random_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    refusal(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0, 6143), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_bundle_is_read_or_refused_and_nothing_else(
    changes: list[tuple[int, int]], good_entries: list[Entry], pack: Pack
) -> None:
    data = bytearray(pack(good_entries))
    for at, value in changes:
        data[at] = value
    with suppress(BundleError):
        read_bundle(io.BytesIO(bytes(data)))


HEADERS = st.sampled_from([tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"S"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(kind=HEADERS, content=st.binary(max_size=600), size=st.none() | st.binary(min_size=12, max_size=12))
def test_hostile_extension_headers_are_read_or_refused_and_nothing_else(
    kind: bytes, content: bytes, size: bytes | None, entry: MakeEntry, good_entries: list[Entry], pack: Pack
) -> None:
    data = pack([entry("extension", content, type=kind), *good_entries])
    if size is not None:
        data = with_size_field(data, 0, size)
    with suppress(BundleError):
        read_bundle(io.BytesIO(data))
