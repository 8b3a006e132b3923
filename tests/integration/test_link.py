"""The link over real brokers and a network that can be taken away."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_agent.link.port import Delivery, Receipt, Will
from edge_agent.link.session import Link
from edge_agent.loop import Loop
from edge_agent.settings import BrokerSettings
from fleet_controller.demo.brokers import Broker, Certificates, Kind, Role
from fleet_controller.demo.proxy import Proxy

USERS = {"pump": "secret-1", "pump-site": "secret-2", "fleet-controller": "secret-3"}
BOTH = pytest.mark.parametrize("kind", list(Kind))
PATIENCE = 15.0


class Recorder:
    """A handler that keeps what it is told, and acknowledges at once if asked to."""

    def __init__(self) -> None:
        self.link: Link
        self.acknowledging = True
        self.ups: list[bool] = []
        self.downs: list[str] = []
        self.deliveries: list[Delivery] = []
        self.outcomes: list[tuple[int, Receipt]] = []
        self.order: list[str] = []

    def on_up(self, session_present: bool) -> None:
        self.ups.append(session_present)
        self.order.append("up")

    def on_down(self, reason: str) -> None:
        self.downs.append(reason)
        self.order.append("down")

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.deliveries += deliveries
        if self.acknowledging:
            self.link.ack(deliveries)

    def on_published(self, outcomes: list[tuple[int, Receipt]]) -> None:
        self.outcomes += outcomes
        self.order.append("published")

    @property
    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.deliveries]


class Field:
    """Links that share one loop."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self._folder = folder
        self._links: list[Link] = []

    def link(
        self,
        port: int,
        user: str | None = "pump-site",
        *,
        filters: Sequence[tuple[str, int]] = (),
        client_id: str | None = None,
        password: str | None = None,
        will: Will | None = None,
        replay_retained: bool = True,
        **settings: Any,
    ) -> Recorder:
        if user is not None:
            secret = self._folder / f"{user}.password"
            secret.write_text((password or USERS[user]) + "\n")
            settings |= {"username": user, "password_file": str(secret)}
        broker = BrokerSettings(**({"port": port, "backoff_min": 0.05, "backoff_max": 0.2} | settings))
        recorder = Recorder()
        recorder.link = Link(
            "test",
            client_id or f"{user}-{len(self._links)}",
            broker,
            recorder,
            self.loop.post,
            filters=filters,
            will=None if will is None else lambda: will,
            replay_retained=replay_retained,
        )
        self._links.append(recorder.link)
        recorder.link.start()
        return recorder

    def up(self, port: int, user: str | None = "pump-site", **options: Any) -> Recorder:
        recorder = self.link(port, user, **options)
        self.until(lambda: bool(recorder.ups))
        return recorder

    def until(self, done: Callable[[], bool]) -> None:
        assert self.loop.run_until(done, PATIENCE), "did not come about in time"

    def publish(self, sender: Recorder, topic: str, payloads: Sequence[bytes], qos: int = 1) -> None:
        """Publish all and wait until the broker has them."""
        before = len(sender.outcomes)
        for number, payload in enumerate(payloads):
            self.until(lambda: sender.link.free_window > 0)
            assert sender.link.publish(topic, payload, token=number, qos=qos)
        self.until(lambda: len(sender.outcomes) == before + len(payloads))
        assert all(ok for _, ok in sender.outcomes[before:])

    def close(self) -> None:
        for link in self._links:
            link.stop()
        self.loop.close()


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    made = Field(tmp_path)
    yield made
    made.close()


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@BOTH
def test_messages_pass_in_order_with_their_properties(kind: Kind, broker: Callable[..., Broker], field: Field) -> None:
    port = broker(kind, USERS).port
    reader = field.up(port, filters=[("barn/#", 1)])
    writer = field.up(port)
    field.publish(writer, "barn/a", numbered(300))
    writer.link.publish("barn/b", b"{}", token=9, properties={"content_type": "application/json", "user": [("k", "v")]})
    field.until(lambda: len(reader.deliveries) == 301)
    assert reader.payloads[:300] == numbered(300)
    assert reader.deliveries[300].properties == {"content_type": "application/json", "user": [("k", "v")]}
    assert reader.link.stats()["acked"] == 301


@BOTH
def test_what_was_not_acknowledged_comes_again_on_the_next_connection(
    kind: Kind, broker: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    port = broker(kind, USERS).port
    network = proxy(port)
    reader = field.up(network.port, filters=[("barn/#", 1)])
    writer = field.up(port)
    field.publish(writer, "barn/a", numbered(5))
    field.until(lambda: len(reader.deliveries) == 5)
    assert reader.link.stats()["acked"] == 5
    field.publish(reader, "elsewhere", [b"behind the acknowledgements"])
    reader.acknowledging = False
    field.publish(writer, "barn/a", [b"x", b"y", b"z"])
    field.until(lambda: len(reader.deliveries) == 8)
    network.cut()
    field.until(lambda: bool(reader.downs))
    void = list(reader.deliveries)
    network.restore()
    field.until(lambda: len(reader.deliveries) >= 11 and len(reader.ups) == 2)
    assert reader.ups == [False, True]
    again = reader.deliveries[8:]
    assert {each.payload for each in again} == {b"x", b"y", b"z"}
    assert {each.generation for each in again} == {reader.link.generation}
    reader.link.ack(void)
    assert reader.link.stats()["acked"] == 5, "an acknowledgement of an earlier connection is void"


def test_a_redelivery_keeps_the_order_and_is_marked(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    port = mosquitto(USERS).port
    network = proxy(port)
    reader = field.up(network.port, filters=[("barn/#", 1)])
    reader.acknowledging = False
    writer = field.up(port)
    field.publish(writer, "barn/a", numbered(20))
    field.until(lambda: len(reader.deliveries) == 20)
    network.cut()
    field.until(lambda: bool(reader.downs))
    field.publish(writer, "barn/a", [b"later"])
    reader.deliveries.clear()
    reader.acknowledging = True
    network.restore()
    field.until(lambda: len(reader.deliveries) >= 21)
    assert reader.payloads == [*numbered(20), b"later"]
    assert [each.dup for each in reader.deliveries] == [True] * 20 + [False]


def test_acknowledgements_asked_for_in_disorder_leave_in_order(mosquitto: Callable[..., Broker], field: Field) -> None:
    port = mosquitto(USERS).port
    reader = field.up(port, filters=[("barn/#", 1)])
    reader.acknowledging = False
    field.publish(field.up(port), "barn/a", numbered(3))
    field.until(lambda: len(reader.deliveries) == 3)
    first, second, third = reader.deliveries
    reader.link.ack([third, second])
    assert reader.link.stats()["acked"] == 0
    reader.link.ack([first])
    assert reader.link.stats()["acked"] == 3


def test_the_broker_stops_at_the_receive_maximum_until_acknowledged(mosquitto: Callable[..., Broker], field: Field) -> None:
    port = mosquitto(USERS).port
    reader = field.up(port, filters=[("barn/#", 1)], receive_maximum=4)
    reader.acknowledging = False
    field.publish(field.up(port), "barn/a", numbered(10))
    field.until(lambda: len(reader.deliveries) == 4)
    field.loop.run_until(lambda: len(reader.deliveries) > 4, 0.3)
    assert len(reader.deliveries) == 4
    reader.acknowledging = True
    reader.link.ack(reader.deliveries)
    field.until(lambda: len(reader.deliveries) == 10)
    assert reader.payloads == numbered(10)


def test_a_message_that_nobody_subscribes_to_is_told_from_one_that_is_heard(
    mosquitto: Callable[..., Broker], field: Field
) -> None:
    port = mosquitto(USERS).port
    sender = field.up(port)
    sender.link.publish("barn/1", b"x", token=1)
    field.until(lambda: sender.outcomes == [(1, Receipt.UNHEARD)])
    field.up(port, filters=[("barn/#", 1)])
    sender.link.publish("barn/1", b"x", token=2)
    field.until(lambda: sender.outcomes == [(1, Receipt.UNHEARD), (2, Receipt.TAKEN)])


def test_a_full_window_takes_no_publish(mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field) -> None:
    network = proxy(mosquitto(USERS).port)
    writer = field.up(network.port, window=3)
    network.hold()
    assert [writer.link.publish("barn/a", b"", token=token) for token in range(4)] == [True, True, True, False]
    assert writer.link.free_window == 0
    network.restore()
    field.until(lambda: len(writer.outcomes) == 3)
    assert [token for token, receipt in writer.outcomes if receipt] == [0, 1, 2]
    assert writer.link.free_window == 3


def test_the_window_is_never_larger_than_the_brokers_receive_maximum(mosquitto: Callable[..., Broker], field: Field) -> None:
    writer = field.up(mosquitto(USERS).port, window=5000)
    assert writer.link.free_window == 100  # max_inflight_messages of the shipped configuration


def test_what_was_lost_with_the_connection_is_reported_before_the_end(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    port = mosquitto(USERS).port
    network = proxy(port)
    reader = field.up(port, filters=[("barn/#", 1)])
    writer = field.up(network.port)
    network.hold()
    assert writer.link.publish("barn/a", b"lost", token=41)
    assert writer.link.publish("barn/a", b"lost", token=42)
    network.cut()
    field.until(lambda: bool(writer.downs))
    assert writer.outcomes == [(41, Receipt.FAILED), (42, Receipt.FAILED)]
    assert writer.order == ["up", "published", "down"]
    assert not writer.link.publish("barn/a", b"while away", token=43)
    network.restore()
    field.until(lambda: len(writer.ups) == 2)
    field.publish(writer, "barn/a", [b"again"])
    field.until(lambda: bool(reader.deliveries))
    assert reader.payloads == [b"again"], "paho has sent nothing by itself"


def test_a_broker_that_is_killed_keeps_session_and_queue(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    site = mosquitto(USERS)
    network = proxy(site.port)
    reader = field.up(network.port, filters=[("barn/#", 1)], client_id="keeper")
    network.cut()
    field.until(lambda: bool(reader.downs))
    field.publish(field.up(site.port), "barn/a", numbered(10))
    field.loop.run_until(lambda: False, 2.5)  # autosave_interval of the shipped configuration is 1 s
    site.kill()
    site.start()
    site.wait_ready()
    network.restore()
    field.until(lambda: len(reader.deliveries) >= 10 and len(reader.ups) == 2)
    assert reader.ups == [False, True]
    assert reader.payloads == numbered(10)


def test_a_message_published_at_qos_2_arrives_at_qos_1_and_stays_until_acknowledged(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    import paho.mqtt.publish as sensor

    port = mosquitto(USERS).port
    network = proxy(port)
    reader = field.up(network.port, filters=[("barn/#", 2)])
    reader.acknowledging = False
    sensor.single("barn/a", b"once", qos=2, port=port, auth={"username": "pump", "password": USERS["pump"]})
    field.until(lambda: len(reader.deliveries) == 1)
    network.cut()
    field.until(lambda: bool(reader.downs))
    network.restore()
    reader.acknowledging = True
    field.until(lambda: len(reader.deliveries) == 2)
    assert [(each.payload, each.qos) for each in reader.deliveries] == [(b"once", 1), (b"once", 1)]
    assert reader.link.stats()["acked"] == 1


@BOTH
def test_a_wrong_password_is_said_once_counted_and_tried_again(
    kind: Kind, broker: Callable[..., Broker], field: Field, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = broker(kind, USERS).port
    with caplog.at_level(logging.WARNING):
        reader = field.link(port, password="wrong")
        field.until(lambda: reader.link.stats()["connect_failures"] >= 3)
    said = [record for record in caplog.records if record.getMessage() == "cannot connect to the broker"]
    assert len(said) == 1
    assert "password" in vars(said[0])["reason"]
    assert vars(said[0])["port"] == port
    (tmp_path / "pump-site.password").write_text(USERS["pump-site"])
    field.until(lambda: bool(reader.ups))


def test_a_refused_subscription_is_said_once_counted_and_tried_again(
    mosquitto: Callable[..., Broker], field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    port = mosquitto(USERS, role=Role.FLEET).port
    import paho.mqtt.reasoncodes as codes
    from paho.mqtt.packettypes import PacketTypes

    with caplog.at_level(logging.WARNING):
        reader = field.up(port, "pump", filters=[("sh/v1/pump/down/#", 1)])
        assert reader.link.connected
        connection = reader.link._connection
        assert connection is not None
        # Mosquitto 2.0 grants any filter and withholds the messages, so the refusal itself is given by hand.
        for _ in range(2):
            connection._subscribing[999] = [("sh/v1/other/down/#", 1)]
            connection._on_subscribe(
                connection._client, None, 999, [codes.ReasonCode(PacketTypes.SUBACK, "Not authorized")], None
            )
    said = [record for record in caplog.records if "refused a subscription" in record.getMessage()]
    assert [(vars(record)["filter"], vars(record)["reason"]) for record in said] == [("sh/v1/other/down/#", "Not authorized")]
    assert reader.link.stats()["subscriptions_refused"] == 2
    field.until(lambda: not connection._resubscribe)
    assert reader.link.connected


def test_the_rules_keep_devices_apart(mosquitto: Callable[..., Broker], field: Field) -> None:
    port = mosquitto(USERS, role=Role.FLEET).port
    controller = field.up(port, "fleet-controller", filters=[("sh/v1/+/up/#", 1)])
    device = field.up(port, "pump", filters=[("sh/v1/pump/down/#", 1), ("sh/v1/other/down/#", 1)])
    assert device.link.publish("sh/v1/other/up/health", b"forged", token=1)
    field.until(lambda: len(device.outcomes) == 1)
    assert device.outcomes == [(1, Receipt.FAILED)]
    field.publish(device, "sh/v1/pump/up/health", [b"own"])
    field.publish(controller, "sh/v1/other/down/desired", [b"not yours"])
    field.publish(controller, "sh/v1/pump/down/desired", [b"yours"])
    field.until(lambda: bool(controller.deliveries and device.deliveries))
    assert controller.payloads == [b"own"]
    assert device.payloads == [b"yours"]


def test_a_password_added_while_running_works_after_a_reload(mosquitto: Callable[..., Broker], field: Field) -> None:
    from fleet_controller.enrolment.broker_password import password_line

    site = mosquitto({"pump": USERS["pump"]})
    late = field.link(site.port, "pump-site")
    field.until(lambda: late.link.stats()["connect_failures"] >= 1)
    with site.passwords.open("a") as file:
        file.write(password_line("pump-site", USERS["pump-site"]) + "\n")
    site.reload()
    field.until(lambda: bool(late.ups))


def test_the_last_will_is_said_on_a_sudden_end_and_not_on_a_stop(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    port = mosquitto(USERS).port
    network = proxy(port)
    watcher = field.up(port, filters=[("state/#", 1)])
    sudden = field.up(network.port, will=Will("state/sudden", b"offline"))
    calm = field.up(port, will=Will("state/calm", b"offline"))
    calm.link.publish("state/calm", b"last words", token=1)
    calm.link.stop()
    field.until(lambda: bool(calm.downs))
    assert calm.downs == ["stopped"]
    network.cut()
    field.until(lambda: len(watcher.deliveries) >= 2)
    field.publish(field.up(port), "state/end", [b""])
    field.until(lambda: watcher.deliveries[-1].topic == "state/end")
    assert [(each.topic, each.payload) for each in watcher.deliveries[:-1]] == [
        ("state/calm", b"last words"),
        ("state/sudden", b"offline"),
    ]
    assert sudden.downs


@pytest.mark.parametrize(("replayed", "expected"), [(True, 2), (False, 1)])
def test_retained_messages_come_again_only_if_asked_for(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field, replayed: bool, expected: int
) -> None:
    port = mosquitto(USERS).port
    network = proxy(port)
    writer = field.up(port)
    writer.link.publish("barn/state", b"on", token=1, retain=True)
    field.until(lambda: bool(writer.outcomes))
    reader = field.up(network.port, filters=[("barn/#", 1)], replay_retained=replayed)
    field.until(lambda: len(reader.deliveries) == 1)
    assert reader.deliveries[0].retain
    field.publish(reader, "elsewhere", [b"behind the acknowledgement"])
    network.cut()
    field.until(lambda: bool(reader.downs))
    network.restore()
    field.until(lambda: len(reader.ups) == 2)
    field.publish(writer, "barn/end", [b""])
    field.until(lambda: reader.deliveries[-1].topic == "barn/end")
    assert len(reader.deliveries) - 1 == expected


def test_a_held_network_is_noticed_by_the_keepalive(
    mosquitto: Callable[..., Broker], proxy: Callable[[int], Proxy], field: Field
) -> None:
    network = proxy(mosquitto(USERS).port)
    reader = field.up(network.port, keepalive=1.0)
    network.hold()
    field.until(lambda: bool(reader.downs))
    assert "eep" in reader.downs[0]
    network.restore()
    field.until(lambda: len(reader.ups) == 2)


def test_a_message_larger_than_the_broker_takes_does_not_cost_the_connection(
    mosquitto: Callable[..., Broker], field: Field
) -> None:
    writer = field.up(mosquitto(USERS).port)
    assert writer.link.publish("barn/a", bytes(1024 * 1024), token=5)
    field.until(lambda: bool(writer.outcomes))
    assert writer.outcomes == [(5, Receipt.FAILED)]
    assert writer.link.stats()["too_large"] == 1
    field.publish(writer, "barn/a", [b"small"])
    assert writer.downs == []


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x00", b"\x30\x02\xff\xff", b""]
)
def test_a_port_of_something_else_is_one_clear_line(greeting: bytes, field: Field, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1000)
                    peer.sendall(greeting)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with caplog.at_level(logging.WARNING):
            reader = field.link(server.getsockname()[1], None, client_id="x")
            field.until(lambda: reader.link.stats()["connect_failures"] >= 3)
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5.0)
    said = [record for record in caplog.records if record.getMessage() == "cannot connect to the broker"]
    assert 1 <= len(said) <= 2
    assert "MQTT 5" in vars(said[0])["reason"] or "connection" in vars(said[0])["reason"].lower()
    assert reader.ups == []


def test_an_unreachable_broker_is_one_clear_line(
    free_port: Callable[[], int], field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        reader = field.link(free_port(), None, client_id="x")
        field.until(lambda: reader.link.stats()["connect_failures"] >= 3)
    (said,) = [record for record in caplog.records if record.getMessage() == "cannot connect to the broker"]
    assert "nothing listens there" in vars(said)["reason"]


def test_a_missing_password_file_is_named(
    mosquitto: Callable[..., Broker], field: Field, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        reader = field.link(mosquitto(USERS).port, None, client_id="x", username="pump", password_file="/nowhere/password")
        field.until(lambda: reader.link.stats()["connect_failures"] >= 1)
    assert "/nowhere/password" in vars(caplog.records[-1])["reason"]


def certificate(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
    """A key and a certificate for 127.0.0.1, written to NAME.key and NAME.pem; without an issuer it is a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


def test_a_client_certificate_signs_in_and_names_the_user(
    mosquitto: Callable[..., Broker], field: Field, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = certificate(tmp_path, "ca", None)
    certificate(tmp_path, "stranger", None)
    certificate(tmp_path, "server", ca)
    certificate(tmp_path, "pump", ca)
    tls = Certificates(tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key", client=True)
    port = mosquitto(USERS, role=Role.FLEET, certificates=tls).port
    trust = {"tls": True, "ca_file": str(tmp_path / "ca.pem")}
    own = {"cert_file": str(tmp_path / "pump.pem"), "key_file": str(tmp_path / "pump.key")}
    device = field.up(port, None, client_id="pump", filters=[("sh/v1/pump/down/#", 1)], **trust, **own)
    field.publish(device, "sh/v1/pump/up/health", numbered(200))
    assert device.link.publish("sh/v1/other/up/health", b"", token=1)
    field.until(lambda: (1, Receipt.FAILED) in device.outcomes)

    with caplog.at_level(logging.WARNING):
        without = field.link(port, None, client_id="without", **trust)
        deceived = field.link(port, None, client_id="deceived", tls=True, ca_file=str(tmp_path / "stranger.pem"), **own)
        plain = field.link(port, None, client_id="plain")
        field.until(lambda: all(each.link.stats()["connect_failures"] >= 1 for each in (without, deceived, plain)))
    assert "the broker's certificate is not trusted" in caplog.text or any(
        "not trusted" in vars(record).get("reason", "") for record in caplog.records
    )
    assert [without.ups, deceived.ups, plain.ups] == [[], [], []]
