"""The attacked device, for every test of this folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleet_controller.demo.brokers import Broker
from tests.attacks.attacked import Attacked
from tests.hostile_models.device import USERS


@pytest.fixture
def attacked(tmp_path: Path, mosquitto: Callable[..., Broker]) -> Iterator[Attacked]:
    broker = mosquitto(USERS)
    with TemporaryDirectory(prefix="sh") as sockets:
        made = Attacked(tmp_path, Path(sockets) / "c.sock", broker.port)
        yield made
        made.close()
