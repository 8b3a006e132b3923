"""Deltas: fetched, cut, hostile. Whatever becomes of them, the device ends with the signed bundle."""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from benchmarks.update_world import Device, Run
from edge_agent.updates.trust.job import Base, Progress, WholeInstead
from fleet_contract.delta import MAGIC, PIECE_BYTES, DeltaHeader, Frame, delta_name, encode_header, read_header
from fleet_contract.reasons import Reason
from fleet_contract.trust import DELTAS_PATH
from fleet_controller.demo.proxy import Proxy
from fleet_controller.registry.delta_making import make_delta, zstd
from tests.faults.network.lab import Answer, Liar, Signed, make_bundle, make_device

SIZE: Final = 9_000_000
CHANGED: Final = 200_000


@dataclass(frozen=True)
class Pair:
    """Two releases on a repository, the delta between them, and what the device has of the first."""

    signed: Signed
    old: Path
    new: bytes
    delta: Path

    @property
    def base(self) -> Base:
        return Base(path=str(self.old), digest="sha256:" + hashlib.sha256(self.old.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    signed = Signed(folder)
    content = random.Random(1).randbytes(SIZE)
    changed = content[:5_000_000] + random.Random(2).randbytes(CHANGED) + content[5_000_000 + CHANGED :]
    old = make_bundle(folder, SIZE, "1.0.0", content)
    new = make_bundle(folder, SIZE, "1.1.0", changed)
    base, data = folder / "base.tar", new.read_bytes()
    base.write_bytes(old.read_bytes())
    digests = [hashlib.sha256(each).hexdigest() for each in (base.read_bytes(), data)]
    deltas = signed.folder / "deltas"
    deltas.mkdir()
    delta = deltas / delta_name(*digests)
    make_delta(old, new, delta)
    for each in (old, new):
        signed.publish(each)
    return Pair(signed, base, data, delta)


@pytest.fixture
def server(pair: Pair) -> Iterator[Liar]:
    server = Liar(pair.signed.folder)
    yield server
    server.end()


@pytest.fixture
def device(tmp_path: Path, pair: Pair, server: Liar) -> Device:
    return make_device(tmp_path / "device", pair.signed.root, f"http://127.0.0.1:{server.server_port}")


def whole(run: Run, pair: Pair) -> None:
    assert run.done.path is not None
    assert Path(run.done.path).read_bytes() == pair.new


def instead(run: Run) -> WholeInstead | None:
    return next((line for line in run.lines if isinstance(line, WholeInstead)), None)


def test_a_delta_brings_the_signed_bundle_with_a_fraction_of_the_bytes(device: Device, server: Liar, pair: Pair) -> None:
    before = pair.old.read_bytes()
    run = device.run(release=2, base=pair.base)
    whole(run, pair)
    assert instead(run) is None
    assert run.done.received < CHANGED * 1.1 + 20_000
    told = [line for line in run.lines if isinstance(line, Progress)]
    assert all(line.delta for line in told)
    assert told[-1].fetched == told[-1].total == pair.delta.stat().st_size
    assert server.targets() == []
    assert pair.old.read_bytes() == before
    assert sorted(path.suffix for path in (device.folder / "download").iterdir()) == ["", ".tar"]


def test_without_a_delta_the_whole_bundle_is_fetched_without_much_ado(device: Device, server: Liar, pair: Pair) -> None:
    other = Base(path=str(pair.old), digest="sha256:" + "0" * 64)
    run = device.run(release=2, base=other)
    whole(run, pair)
    told = instead(run)
    assert told is not None
    assert not told.offered
    assert len(server.deltas()) == len(server.targets()) == 1


def test_a_delta_that_is_cut_goes_on_where_it_stopped(
    device: Device, server: Liar, pair: Pair, proxy: Callable[[int], Proxy]
) -> None:
    link = proxy(server.server_port)
    device.base = f"http://127.0.0.1:{link.port}"
    device.run(have="sha256:" + hashlib.sha256(pair.new).hexdigest(), release=2)  # the metadata is here now
    for _ in range(2):
        link.reset_after(90_000)
        assert device.run(release=2, base=pair.base).failed.temporary
    link.restore()
    run = device.run(release=2, base=pair.base)
    whole(run, pair)
    assert instead(run) is None
    first, second, third = server.deltas()
    assert first is None
    assert second is not None
    assert third is not None
    assert server.targets() == []
    assert link.answered < pair.delta.stat().st_size * 1.1


def test_a_bundle_that_has_begun_to_come_whole_is_not_begun_anew(device: Device, server: Liar, pair: Pair) -> None:
    server.misbehave = lambda answer, data, _offset: answer.give(data[: SIZE - 1000], 0, Content_Length=str(len(data)))
    device.run(release=2)
    server.misbehave = None
    server.asked.clear()
    whole(device.run(release=2, base=pair.base), pair)
    assert server.deltas() == []
    assert server.targets()[0] is not None


def test_an_incumbent_that_is_gone_damaged_or_unreadable_costs_the_delta_and_no_more(
    device: Device, server: Liar, pair: Pair, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(bytes(pair.old.stat().st_size))
    for path in (damaged, tmp_path / "gone.tar", tmp_path):
        run = device.run(release=2, base=msgspec.structs.replace(pair.base, path=str(path)))
        whole(run, pair)
        assert instead(run) is not None
        Path(run.done.path or "").unlink()


def compressed(data: bytes, window_log: int = 20) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.window_log: window_log})


def rebuilt(pair: Pair, **changes: Any) -> bytes:
    """The honest delta with another header."""
    with pair.delta.open("rb") as file:
        header = read_header(file)
        return encode_header(msgspec.structs.replace(header, **changes)) + file.read()


def with_first_frame(pair: Pair, data: bytes, **changes: Any) -> bytes:
    """The honest delta with other bytes as its first frame."""
    with pair.delta.open("rb") as file:
        header = read_header(file)
        rest = file.read()[header.frames[0].packed :]
    first = msgspec.structs.replace(header.frames[0], **({"packed": len(data)} | changes))
    return encode_header(msgspec.structs.replace(header, frames=(first, *header.frames[1:]))) + data + rest


def bomb(pair: Pair) -> bytes:
    """A gigabyte of zeros where four megabytes are announced."""
    packer = zstd.ZstdCompressor()
    block = bytes(PIECE_BYTES)
    return with_first_frame(pair, b"".join(packer.compress(block) for _ in range(256)) + packer.flush())


def wide_window(pair: Pair) -> bytes:
    """A frame that asks for a window of 128 MiB."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return with_first_frame(pair, packer.compress(bytes(PIECE_BYTES)) + packer.flush())


def two_frames(pair: Pair) -> bytes:
    half = compressed(bytes(PIECE_BYTES // 2))
    return with_first_frame(pair, half + half)


def other_weights(pair: Pair) -> bytes:
    """Well made, of the right length, and not what was signed: what an attacker would send."""
    length = len(pair.new)
    pieces = [min(PIECE_BYTES, length - start) for start in range(0, length, PIECE_BYTES)]
    packed = [compressed(b"\x01" * piece) for piece in pieces]
    frames = tuple(Frame(piece, 0, 0, len(data)) for piece, data in zip(pieces, packed, strict=True))
    names = pair.delta.stem.split("-")
    return encode_header(DeltaHeader(base=names[0], target=names[1], length=length, frames=frames)) + b"".join(packed)


def outside(pair: Pair) -> bytes:
    with pair.delta.open("rb") as file:
        frames = read_header(file).frames
    beyond = msgspec.structs.replace(frames[0], source_start=2**40)
    return rebuilt(pair, frames=(beyond, *frames[1:]))


def greedy(pair: Pair) -> bytes:
    with pair.delta.open("rb") as file:
        frames = read_header(file).frames
    return rebuilt(pair, frames=(msgspec.structs.replace(frames[0], source_length=2**30), *frames[1:]))


HOSTILE: Final[list[tuple[str, Callable[[Pair], bytes], str]]] = [
    ("nothing", lambda pair: b"", "not a delta"),
    ("no delta", lambda pair: b"<html>" * 100, "not a delta"),
    ("another version", lambda pair: b"SHDELTA\x02" + pair.delta.read_bytes()[8:], "not a delta"),
    ("a long header", lambda pair: MAGIC + b"\xff\xff\xff\xff" + bytes(1000), "a header of"),
    ("a header of noise", lambda pair: MAGIC + b"\0\0\0\x05" + b"noise", "cannot be read"),
    ("cut short", lambda pair: pair.delta.read_bytes()[:-1000], "ends early"),
    ("with more behind it", lambda pair: pair.delta.read_bytes() + b"x", "behind the last"),
    ("longer than the bundle", lambda pair: pair.delta.read_bytes() + bytes(len(pair.new)), "allowed are"),
    ("of another bundle", lambda pair: rebuilt(pair, base="0" * 64), "other bundles"),
    ("to another bundle", lambda pair: rebuilt(pair, target="0" * 64), "other bundles"),
    ("a negative length", lambda pair: rebuilt(pair, length=-1), "are left"),
    ("too long a length", lambda pair: rebuilt(pair, length=2**62), "piece 2"),
    ("without pieces", lambda pair: rebuilt(pair, frames=()), "lack"),
    ("a piece from beyond the old file", outside, "more than the old file"),
    ("a piece from all of memory", greedy, "asks for"),
    ("a bomb", bomb, "holds more"),
    ("a wide window", wide_window, "piece 0"),
    ("half a piece", lambda pair: with_first_frame(pair, compressed(bytes(1000))), "early"),
    ("two frames for one", two_frames, "early"),
    ("a frame of noise", lambda pair: with_first_frame(pair, b"noise" * 100), "piece 0"),
    ("half a frame", lambda pair: with_first_frame(pair, compressed(pair.new[:PIECE_BYTES])[:1000]), "ends early"),
    ("another model", other_weights, "signed hash"),
]


@pytest.mark.parametrize(("make", "word"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_hostile_delta_ends_in_the_whole_bundle(
    device: Device, server: Liar, pair: Pair, make: Callable[[Pair], bytes], word: str
) -> None:
    hostile = make(pair)
    server.misbehave = lambda answer, data, offset: answer.give(
        hostile if answer.path.startswith(DELTAS_PATH) else data, offset
    )
    run = device.run(release=2, base=pair.base)
    whole(run, pair)
    told = instead(run)
    assert told is not None
    assert told.offered
    assert word in told.detail, told.detail
    assert not list((device.folder / "download").glob("*.delta"))
    assert not list((device.folder / "download").glob("*.patched"))


def lying(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Length=str(10**12))


def nameless(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Length="")


def broken(answer: Answer, data: bytes, offset: int) -> None:
    answer.refuse(500)


def elsewhere(answer: Answer, data: bytes, offset: int) -> None:
    answer.refuse(302, Location="http://127.0.0.1:9/")


@pytest.mark.parametrize("misbehave", [lying, broken, elsewhere], ids=lambda value: value.__name__)
def test_a_server_that_gives_no_delta_is_asked_for_the_whole_bundle_at_once(
    device: Device, server: Liar, pair: Pair, misbehave: Callable[[Answer, bytes, int], None]
) -> None:
    server.misbehave = lambda answer, data, offset: (
        misbehave(answer, data, offset) if answer.path.startswith(DELTAS_PATH) else answer.give(data, offset)
    )
    run = device.run(release=2, base=pair.base)
    whole(run, pair)
    assert instead(run) is not None


def endless(answer: Answer, data: bytes, offset: int) -> None:
    """A byte now and then, for ever."""
    answer.send_response(206 if offset else 200)
    named = {"Content-Range": f"bytes {offset}-99999/100000"} if offset else {}
    answer.head(named | {"Content-Length": str(100_000 - offset)})
    while not answer.server.ending.wait(0.02):
        answer.wfile.write(b"x")


def mute(answer: Answer, data: bytes, offset: int) -> None:
    answer.server.ending.wait()


def gone(answer: Answer, data: bytes, offset: int) -> None:
    """Hangs up."""


@pytest.mark.parametrize("misbehave", [endless, mute, gone, nameless], ids=lambda value: value.__name__)
def test_a_server_that_keeps_us_waiting_for_its_delta_gets_one_more_attempt(
    device: Device, server: Liar, pair: Pair, misbehave: Callable[[Answer, bytes, int], None]
) -> None:
    server.misbehave = lambda answer, data, offset: (
        misbehave(answer, data, offset) if answer.path.startswith(DELTAS_PATH) else answer.give(data, offset)
    )
    failed = device.run(release=2, base=pair.base, timeout=0.5).failed
    assert (failed.reason, failed.temporary) == (Reason.DOWNLOAD_FAILED, True)
    run = device.run(release=2, base=pair.base, timeout=0.5)
    whole(run, pair)
    assert instead(run) is not None


def test_a_server_that_asks_for_patience_with_its_delta_gets_it(device: Device, server: Liar, pair: Pair) -> None:
    server.misbehave = lambda answer, _data, _offset: answer.refuse(503, Retry_After="9")
    assert device.run(release=2, base=pair.base).failed.retry_after == 9.0
    server.misbehave = None
    assert instead(device.run(release=2, base=pair.base)) is None
