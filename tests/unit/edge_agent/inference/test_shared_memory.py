import os
from array import array
from collections.abc import Iterator

import pytest

from edge_agent.inference import protocol
from edge_agent.inference.protocol import ProtocolError, Reader, Run, pack
from edge_agent.inference.shared_memory import SharedMemory

LARGE = os.urandom(protocol.SHARE_BYTES)
REQUEST = Run(number=1, lengths=[], texts=None)


@pytest.fixture
def sides() -> Iterator[tuple[SharedMemory, SharedMemory]]:
    """The daemon's and the worker's view."""
    daemon = SharedMemory.create()
    writes, reads = daemon.for_worker
    worker = SharedMemory(os.dup(writes), os.dup(reads))
    yield daemon, worker
    daemon.close()
    worker.close()


def blocks(memory: SharedMemory) -> int:
    return sum(os.fstat(descriptor).st_blocks for descriptor in memory.for_worker)


@pytest.mark.parametrize("size", [0, 1, protocol.SHARE_BYTES - 1, protocol.SHARE_BYTES, 3_000_001])
def test_a_body_of_any_size_arrives_and_only_a_large_one_leaves_the_stream(
    sides: tuple[SharedMemory, SharedMemory], size: int
) -> None:
    daemon, worker = sides
    body = os.urandom(size)
    for writer, reader_side in ((daemon, worker), (worker, daemon)):
        frame = pack(REQUEST, [body[: size // 2], body[size // 2 :]], writer)
        assert (len(frame) < protocol.SHARE_BYTES) == (size != protocol.SHARE_BYTES - 1)
        reader = Reader(reader_side)
        reader.feed(frame)
        assert reader.next() == (REQUEST, body)
        assert reader.next() is None


def test_a_body_of_very_many_parts_arrives_whole(sides: tuple[SharedMemory, SharedMemory]) -> None:
    daemon, worker = sides
    parts: list[protocol.Buffer] = [memoryview(array("d", [number] * 8)) for number in range(3000)]
    reader = Reader(worker)
    reader.feed(pack(REQUEST, parts, daemon))
    frame = reader.next()
    assert frame is not None
    assert frame[1] == b"".join(parts)


def test_a_short_body_after_a_long_one_is_itself_alone(sides: tuple[SharedMemory, SharedMemory]) -> None:
    daemon, worker = sides
    reader = Reader(worker)
    for body in (os.urandom(500_000), LARGE):
        reader.feed(pack(REQUEST, [body], daemon))
        assert reader.next() == (REQUEST, body)


def test_a_worker_that_cuts_its_answer_short_is_noticed(sides: tuple[SharedMemory, SharedMemory]) -> None:
    daemon, worker = sides
    frame = pack(REQUEST, [LARGE], worker)
    os.ftruncate(worker.for_worker[1], 100)
    reader = Reader(daemon)
    reader.feed(frame)
    with pytest.raises(ProtocolError, match=f"100 bytes are in the shared memory where {len(LARGE)} were announced"):
        reader.next()


def test_a_shared_body_that_claims_too_much_is_refused_before_it_is_read(sides: tuple[SharedMemory, SharedMemory]) -> None:
    reader = Reader(sides[0])
    reader.feed(protocol.LENGTHS.pack(1, protocol.MAX_FRAME_BYTES | 1 << 31))
    with pytest.raises(ProtocolError, match="a frame of"):
        reader.next()


def test_a_body_goes_by_the_stream_where_the_memory_cannot_be_written(sides: tuple[SharedMemory, SharedMemory]) -> None:
    daemon, worker = sides
    daemon.close()
    reader = Reader(worker)
    reader.feed(pack(REQUEST, [LARGE], daemon))
    assert reader.next() == (REQUEST, LARGE)


def test_released_memory_is_the_kernels_again_and_can_be_used_anew(sides: tuple[SharedMemory, SharedMemory]) -> None:
    daemon, worker = sides
    for _ in range(2):
        reader = Reader(worker)
        reader.feed(pack(REQUEST, [LARGE * 8], daemon))
        assert reader.next() == (REQUEST, LARGE * 8)
        assert pack(REQUEST, [LARGE], worker)
        assert blocks(daemon) * 512 >= len(LARGE) * 9
        daemon.release()
        assert blocks(daemon) == 0


def test_a_frame_larger_than_allowed_is_not_made() -> None:
    part = bytes(1024 * 1024)
    with pytest.raises(ProtocolError, match="allowed are"):
        pack(REQUEST, [part] * 256)
