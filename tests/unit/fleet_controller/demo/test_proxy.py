"""The network that can be taken away, with real sockets."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from fleet_controller.demo.proxy import Proxy


@pytest.fixture
def ends(proxy: Callable[[int], Proxy]) -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A proxy, and the two ends of a connection through it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        between = proxy(server.getsockname()[1])
        with closing(socket.create_connection(("127.0.0.1", between.port), timeout=5.0)) as client:
            accepted, _ = server.accept()
            accepted.settimeout(5.0)
            with closing(accepted):
                yield between, client, accepted


def test_a_reset_mid_packet_lets_a_part_through_and_resets_both_ends(
    ends: tuple[Proxy, socket.socket, socket.socket],
) -> None:
    proxy, client, server = ends
    proxy.reset_mid_packet(0.25)
    client.sendall(bytes(range(100)))
    assert server.recv(200) == bytes(range(25))
    for end in (server, client):
        with pytest.raises(ConnectionResetError):
            end.recv(1)


@pytest.mark.parametrize(("part", "length"), [(0.0, 1), (1.0, 99)])
def test_a_reset_mid_packet_is_never_between_two_packets(
    ends: tuple[Proxy, socket.socket, socket.socket], part: float, length: int
) -> None:
    proxy, client, server = ends
    proxy.reset_mid_packet(part)
    client.sendall(bytes(100))
    assert len(server.recv(200)) == length


def test_a_reset_comes_after_so_many_bytes_to_the_client_and_what_was_let_through_is_counted(
    ends: tuple[Proxy, socket.socket, socket.socket],
) -> None:
    proxy, client, server = ends
    proxy.reset_after(150)
    client.sendall(bytes(1000))  # the other direction is free
    server.sendall(bytes(100))
    server.sendall(bytes(100))
    came = b""
    with pytest.raises(ConnectionResetError):
        while True:
            came += client.recv(1000)
            assert len(came) <= 150
    assert len(came) == proxy.answered == 150


def test_only_one_connection_is_reset(proxy: Callable[[int], Proxy]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        between = proxy(server.getsockname()[1])
        between.reset_mid_packet(0.5)
        for came in (b"a", b"ab"):
            with closing(socket.create_connection(("127.0.0.1", between.port), timeout=5.0)) as client:
                accepted, _ = server.accept()
                with closing(accepted):
                    client.sendall(b"ab")
                    assert accepted.recv(10) == came


def test_a_slowed_network_takes_its_time_for_each_byte_and_loses_none(
    ends: tuple[Proxy, socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("fleet_controller.demo.proxy.time.sleep", waits.append)
    proxy, client, server = ends
    proxy.slow(1_000.0)
    client.sendall(bytes(5_000))
    came = 0
    while came < 5_000:
        came += len(server.recv(5_000))
    proxy.restore()
    client.sendall(b"end")
    assert server.recv(10) == b"end"
    assert sum(waits) == pytest.approx(5.0)
