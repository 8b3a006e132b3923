"""Reading and writing in large pieces."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from edge_agent.link.buffered_socket import BufferedSocket


@pytest.fixture
def ends() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield BufferedSocket(ours), theirs


def test_small_reads_are_served_from_one_large_one(ends: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, peer = ends
    peer.sendall(b"abcdef")
    assert buffered.recv(1) == b"a"
    assert buffered.pending() == 5
    assert buffered.recv(2) == b"bc"
    assert buffered.recv(10) == b"def"
    assert buffered.pending() == 0


def test_reading_when_nothing_has_come_would_block(ends: tuple[BufferedSocket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        ends[0].recv(1)


def test_nothing_leaves_before_the_flush(ends: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, peer = ends
    peer.setblocking(False)
    assert buffered.send(b"ab") == 2
    buffered.send(b"cd")
    with pytest.raises(BlockingIOError):
        peer.recv(10)
    buffered.flush()
    assert peer.recv(10) == b"abcd"
    assert not buffered.unsent


def test_a_peer_that_does_not_read_makes_the_writer_wait_and_loses_nothing(ends: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, peer = ends
    piece = bytes(range(256)) * 64
    taken = 0
    with contextlib.suppress(BlockingIOError):
        for _ in range(1000):
            taken += buffered.send(piece)
    assert taken < 1000 * len(piece)
    assert buffered.unsent
    got = bytearray()
    while len(got) < taken:
        buffered.flush()
        got += peer.recv(1 << 20)
    assert bytes(got) == piece * (taken // len(piece))


def test_closing_sends_what_is_left(ends: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, peer = ends
    buffered.send(b"bye")
    buffered.close()
    assert peer.recv(10) == b"bye"
    assert peer.recv(10) == b""
