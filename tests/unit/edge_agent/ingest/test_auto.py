import json
import subprocess
import sys
from typing import Any

import cbor2
import pytest

from edge_agent.ingest.auto import AutoFormat, Remembered
from edge_agent.ingest.auto_table import TOPICS
from edge_agent.ingest.events import Decoded, Reading, Text
from edge_agent.ingest.formats import FORMATS, Ingest
from edge_agent.ingest.port import Message
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.settings import IngestSettings

SETTINGS = IngestSettings(topic="#", format="auto")
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"x": 1}}
PACK = [{"bn": "urn:dev:a:", "n": "x", "v": 1}]


def message(topic: str, payload: Any, content_type: str | None = None, user: dict[str, str] | None = None) -> Message:
    properties: dict[str, Any] = {}
    if content_type is not None:
        properties["content_type"] = content_type
    if user is not None:
        properties["user"] = list(user.items())
    return Message(topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), properties)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("spBv1.0/farm/NDATA/n1", "sparkplug"),
        ("spBv1.0/farm/DDATA/n1/d1", "sparkplug"),
        ("spBv1.0/STATE/host", "sparkplug"),
        ("application/1/device/a84041fa81886e11/event/up", "chirpstack"),
        ("application/1/device/a84041fa81886e11/command/down", "chirpstack"),
        ("v3/app@tenant/devices/dev/up", "ttn"),
        ("v3/app/devices/dev/join", "ttn"),
        ("zigbee2mqtt/living room/lamp", "zigbee2mqtt"),
        ("zigbee2mqtt/bridge/state", "zigbee2mqtt"),
        ("tele/plug/SENSOR", "tasmota"),
        ("tele/site/plug/SENSOR", "tasmota"),
        ("tele/plug/LWT", "tasmota"),
        ("stat/plug/STATUS8", "tasmota"),
        ("plug/tele/SENSOR", "tasmota"),
        ("shellyplus1-a8032ab12345/events/rpc", "shelly"),
        ("barn/pump/status/switch:0", "shelly"),
        ("shellyplus1pm-a8032ab12345/online", "shelly"),
        ("barn/pump/status/sys", "shelly"),
        ("/json/key/dev/attrs", "fiware"),
        ("json/key/dev/attrs/t", "fiware"),
        ("/key/dev/attrs", "fiware"),
        ("key/dev/attrs/t", "fiware"),
        ("/key/dev/cmd", "fiware"),
        ("/json/key/dev/configuration/commands", "fiware"),
    ],
)
@pytest.mark.parametrize("payload", [b"", b"\xff", b"{}", b"12"])
def test_the_topic_goes_before_the_payload(topic: str, name: str, payload: bytes) -> None:
    assert AutoFormat(SETTINGS).format_of(message(topic, payload)) == name


@pytest.mark.parametrize(
    ("payload", "content_type", "user", "name"),
    [
        ({"x": 1}, None, None, "json"),
        (b" [1]", None, None, "json"),
        ([], None, None, "json"),
        (b'{"x": 1', None, None, "json"),
        (b"[" * 30_000, None, None, "json"),
        (b"[urgent] leak", None, None, "text"),
        (b"12.5", None, None, "text"),
        (b"", None, None, "text"),
        (b"12.5", "application/json", None, "json"),
        (b"[urgent] leak", "application/json", None, "json"),
        ({"x": 1}, "text/plain; charset=utf-8", None, "text"),
        (b"\xa1", "application/cbor", None, "json"),
        (b"\x81", "application/x-msgpack", None, "json"),
        (EVENT, None, None, "cloudevents"),
        (EVENT, "application/json", None, "cloudevents"),
        ({"specversion": "1.0", "x": 1}, None, None, "json"),
        (b"5", "application/CloudEvents+JSON", None, "cloudevents"),
        ({"x": 1}, "application/json", EVENT, "cloudevents"),
        ({"x": 1}, None, {"id": "1", "specversion": "1.0"}, "json"),
        (PACK, None, None, "senml"),
        (PACK, "application/json", None, "senml"),
        ([{"n": "x", "v": 1}, {"v": 2}], None, None, "senml"),
        ([{"n": "x"}, {"n": "y"}], None, None, "json"),
        ([{"t": 20, "s": 3}], None, None, "json"),
        ([{"n": 5, "v": 3}], None, None, "json"),
        ([{"n": "x", "v": 1}, 5], None, None, "json"),
        (b"x", "application/senml+json", None, "senml"),
        (b"x", "application/sensml+cbor;a=b", None, "senml"),
        (cbor2.dumps([{-2: "a", 2: 1}]), None, None, "senml"),
        (bytes.fromhex("9fbf006178020 5ffff".replace(" ", "")), None, None, "senml"),
        (cbor2.dumps([1, 2]), None, None, "text"),
    ],
)
def test_otherwise_content_type_and_payload_tell(payload: Any, content_type: Any, user: Any, name: str) -> None:
    assert AutoFormat(SETTINGS).format_of(message("farm/a", payload, content_type, user)) == name


def test_a_topic_of_ones_own_with_the_word_status_is_no_shelly() -> None:
    assert AutoFormat(SETTINGS).format_of(message("barn/status/pump", {"x": 1})) == "json"


def test_every_row_names_a_format() -> None:
    assert {name for name, _ in TOPICS} <= FORMATS.keys()


@pytest.mark.parametrize(
    ("topic", "payload", "events"),
    [
        ("farm/a", b'{"x": 1}', [Reading("farm/a", "x", 1, None, None, "x", ("no_time",))]),
        ("farm/a", b"leak in hall 3", [Text("farm/a", "leak in hall 3", None, "text", ("no_time",))]),
        ("farm/a", b'[{"n": "x", "v": 1}]', [Reading("farm/a", "x", 1, None, None, "x", ("no_time",))]),
        ("/json/k/d7/attrs/x", b"1", [Reading("d7", "x", 1, None, None, "x", ("no_time",))]),
    ],
)
def test_a_message_is_read_as_its_format_reads_it(topic: str, payload: bytes, events: list[Any]) -> None:
    decoded = Ingest(SETTINGS).decode(topic, payload)
    assert isinstance(decoded, Decoded), decoded
    assert list(decoded.events) == events


def test_a_library_is_imported_with_the_first_message_that_needs_it() -> None:
    script = r"""
import sys
from edge_agent.ingest.formats import Ingest
from edge_agent.settings import IngestSettings
ingest = Ingest(IngestSettings(topic="#", format="auto"))
def loaded(topic, payload, content_type=""):
    ingest.decode(topic, payload, {"content_type": content_type})
    return [name for name in ("cbor2", "google.protobuf", "importlib.metadata") if name in sys.modules]
print(loaded("a", b'{"x": 1}'), loaded("a", b"a text"), loaded("a", b"\x81\x01", "application/msgpack"))
print(loaded("a", b"\xa1", "application/cbor"), loaded("spBv1.0/g/NDATA/n", b""))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] [] []", "['cbor2'] ['cbor2', 'google.protobuf']"]


def test_what_a_format_remembers_is_kept_and_stored_for_each_stream() -> None:
    def sparkplug(seq: int, *metrics: dict[str, Any]) -> bytes:
        payload: bytes = Payload(timestamp=1_700_000_000_000, seq=seq, metrics=metrics).SerializeToString()
        return payload

    metric = {"name": "level", "alias": 1, "datatype": 9, "float_value": 20.5}
    birth = sparkplug(0, {"name": "bdSeq", "datatype": 8, "long_value": 0}, metric)
    data = sparkplug(1, {"alias": 1, "float_value": 21.5})
    ingest = Ingest(SETTINGS)
    assert ingest.remembers
    born = ingest.decode("spBv1.0/g/NBIRTH/n1", birth)
    assert isinstance(born, Decoded), born
    stream = ingest.accept("spBv1.0/g/NBIRTH/n1", born)
    assert stream == "sparkplug:g/n1"
    again = Ingest(SETTINGS)
    again.restore({stream: ingest.state(stream), "sparkplug:g/n2": b"json\0x", "x": b""})
    for known in (ingest, again):
        decoded = known.decode("spBv1.0/g/NDATA/n1", data)
        assert isinstance(decoded, Decoded), decoded
        assert [event.name for event in decoded.events] == ["level"]


def test_a_state_of_another_format_is_not_used() -> None:
    auto = AutoFormat(SETTINGS)
    assert auto.stream_of("farm/a") is None
    decoded = auto.decode(message("farm/a", {"x": 1}), Remembered("sparkplug", object()))
    assert isinstance(decoded, Decoded)
    assert decoded.state is None
