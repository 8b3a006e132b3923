"""The whole service as a process, over a real Mosquitto: it takes results in, stops in order, and says why it cannot start."""

import json
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from fleet_contract import topics
from fleet_contract.feedback import Feedback, Truth
from fleet_contract.messages import Ack, decode
from fleet_controller.demo.brokers import Broker, Role
from fleet_controller.founding import Founding, found
from fleet_controller.store import tables
from fleet_controller.store.database import Database, sqlite_url

PATIENCE = 30.0
SERVE = [sys.executable, "-c", "from fleet_controller.cli import main; main()", "serve", "--config"]


@pytest.fixture
def fleet_broker(mosquitto: Callable[..., Broker]) -> Broker:
    return mosquitto({"fleet-controller": "replaced", "farm-1": "device-secret"}, role=Role.FLEET)


@pytest.fixture
def founding(tmp_path: Path, fleet_broker: Broker, free_port: Callable[[], int]) -> Founding:
    made = Founding(
        state_dir=tmp_path / "controller",
        operator="admin",
        broker_host="127.0.0.1",
        broker_port=fleet_broker.port,
        broker_user="fleet-controller",
        broker_password_file=fleet_broker.passwords,
        broker_pid_file=None,
        http_host="127.0.0.1",
        http_port=free_port(),
        public_url=None,
    )
    found(made, b"correct horse battery")
    fleet_broker.reload()
    return made


@pytest.fixture
def service(founding: Founding) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*SERVE, str(founding.config)], stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: _answers(founding.url), process)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_results_come_in_are_acknowledged_and_the_service_stops_in_order(
    founding: Founding, fleet_broker: Broker, service: subprocess.Popen[str]
) -> None:
    database = Database(sqlite_url(founding.state_dir / "controller.db"))
    with database.write() as connection:
        connection.execute(sa.insert(tables.devices).values(device="farm-1", labels={}, created=1.0))
    inbox: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
    device = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="farm-1", protocol=mqtt.MQTTv5)
    device.username_pw_set("farm-1", "device-secret")
    device.on_message = lambda _client, _data, message: inbox.put(message)
    device.on_connect = lambda client, *_more: client.subscribe(topics.down_filter("farm-1"), qos=1)
    device.connect("127.0.0.1", fleet_broker.port)
    device.loop_start()
    try:
        payload = json.dumps({"stream": "s", "seq": 1, "result_id": "r1", "source": "x"}).encode()
        end = time.monotonic() + PATIENCE
        while inbox.empty():  # as a device does: again, until it is acknowledged
            assert time.monotonic() < end
            device.publish(topics.up("farm-1", topics.Up.RESULT, "frost"), payload, qos=1)
            time.sleep(0.2)
        assert decode(inbox.get().payload, Ack) == Ack(stream="s", ranges=((1, 1),))
    finally:
        device.disconnect()
        device.loop_stop()
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.results)).scalar() == 1
    database.close()
    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE) == 0


def test_what_was_right_goes_to_the_device_when_it_is_there_until_it_reports_it(
    founding: Founding, fleet_broker: Broker, service: subprocess.Popen[str]
) -> None:
    database = Database(sqlite_url(founding.state_dir / "controller.db"))
    payload = json.dumps({"outcome": {"label": "frost", "scores": {"frost": 0.9, "mild": 0.1}}, "model": {}}).encode()
    with database.write() as connection:
        connection.execute(sa.insert(tables.devices).values(device="farm-1", labels={}, created=1.0))
        row = {"device": "farm-1", "result_id": "r1", "pipeline": "p", "source": "s", "model": "frost", "release": 1}
        connection.execute(sa.insert(tables.results).values(**row, payload=payload, received=1.0))
    database.close()
    token = (founding.state_dir / "operator.token").read_text().strip()
    url, headers = f"http://127.0.0.1:{founding.http_port}/api/v1", {"Authorization": f"Bearer {token}"}
    given = httpx.post(f"{url}/feedback", headers=headers, json={"truths": [{"result_id": "r1", "label": "mild"}]})
    assert (given.status_code, given.json()["taken"]) == (200, 1)
    inbox: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
    device = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="farm-1", protocol=mqtt.MQTTv5)
    device.username_pw_set("farm-1", "device-secret")
    device.on_message = lambda _client, _data, message: inbox.put(message)
    device.on_connect = lambda client, *_more: client.subscribe(topics.down_filter("farm-1"), qos=1)
    device.connect("127.0.0.1", fleet_broker.port)
    device.loop_start()

    def state() -> str:
        history = httpx.get(f"{url}/results/r1/feedback", headers=headers).json()
        return str(history[0]["state"])

    try:
        assert state() == "waiting"
        counter, end = 0, time.monotonic() + PATIENCE
        while inbox.empty():
            assert time.monotonic() < end
            counter += 1
            birth = {"stream": "s", "counter": counter, "state": "online"}
            device.publish(topics.up("farm-1", topics.Up.BIRTH), json.dumps(birth), qos=1)
            time.sleep(0.2)
        message = inbox.get()
        assert message.topic == topics.down("farm-1", topics.Down.FEEDBACK)
        truth = Truth(result_id="r1", label="mild", by="admin")
        assert decode(message.payload, Feedback) == Feedback(number=1, truths=(truth,))
        assert state() == "sent"
        reported = {"stream": "s", "counter": 1, "revision": 0, "feedback": 1}
        device.publish(topics.up("farm-1", topics.Up.REPORTED), json.dumps(reported), qos=1)
        _until(lambda: state() == "taken", service)
    finally:
        device.disconnect()
        device.loop_stop()


def test_a_port_in_use_is_one_clear_line(founding: Founding) -> None:
    with socket.create_server(("127.0.0.1", founding.http_port)):
        done = subprocess.run([*SERVE, str(founding.config)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"fleet: cannot listen on 127.0.0.1:{founding.http_port} (http.host, http.port): Address already in use"
    ]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1.0).status_code == 200
    except httpx.TransportError:
        return False


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)
