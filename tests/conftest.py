"""Brokers, ports and networks for the tests; what is started here is ended here."""

import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fleet_controller.demo.brokers import Broker, Kind
from fleet_controller.demo.proxy import Proxy

# a machine under load is slow, and no test asserts on the clock
settings.register_profile("smallhold", deadline=None)
settings.load_profile("smallhold")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that finds a port of 127.0.0.1 that nobody uses."""

    def find() -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port: int = server.getsockname()[1]
            return port

    return find


@pytest.fixture
def broker(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Broker]]:
    """`broker(kind, users, **options of Broker)`: a broker that takes connections; ended after the test."""
    started: list[Broker] = []

    def start(kind: Kind, users: dict[str, str], **options: Any) -> Broker:
        made = Broker(kind, tmp_path / f"broker{len(started)}", free_port(), users, **options)
        started.append(made)
        made.start()
        made.wait_ready()
        return made

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def mosquitto(broker: Callable[..., Broker]) -> Callable[..., Broker]:
    """`mosquitto(users, **options of Broker)`: a Mosquitto with the settings that deploy/ ships."""
    return partial(broker, Kind.MOSQUITTO)


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """`proxy(target_port)`: a network that can be cut."""
    started: list[Proxy] = []

    def start(target_port: int) -> Proxy:
        started.append(Proxy(target_port))
        return started[-1]

    yield start
    for each in started:
        each.close()
