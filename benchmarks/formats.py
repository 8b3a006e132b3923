"""Microseconds per payload of every format, beside the bare parse of the same bytes by a library.

Ours is all that the daemon does with a payload before it reaches a pipeline: parse, device, time, names, units, readings.
The reference only parses: `json.loads`, `cbor2.loads`, `msgspec.msgpack.decode`, `bytes.decode`, and the protobuf library with
each metric's alias, time and value fetched. Both in turn, in processor time.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import cbor2
import msgspec

from benchmarks.figures import Figure, write
from edge_agent.ingest.events import Decoded
from edge_agent.ingest.formats import FORMATS, Ingest
from edge_agent.ingest.port import NO_PROPERTIES
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.settings import IngestSettings

ROUNDS: Final = 9
SECONDS: Final = 0.05
"""Of each subject in each round."""
NOW: Final = "2024-05-01T10:00:00.123456Z"
NOW_MS: Final = 1_714_557_600_123


class Case(NamedTuple):
    """One typical payload, with the messages that a format has to have heard before."""

    label: str
    format: str
    topic: str
    payload: bytes
    bare: Callable[[bytes], Any]
    bare_name: str
    properties: Mapping[str, Any] = NO_PROPERTIES
    prior: tuple[tuple[str, bytes], ...] = ()


def _documents() -> dict[str, tuple[str, Any]]:
    """Format to topic and JSON document."""
    reading = {"id": "e1", "time": NOW, "temperature": 21.5, "humidity": 40, "battery": 3.6, "ok": True}
    gateway = {"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5, "channel": 1}
    device = {"tenantId": "52f14cd4", "tenantName": "farm", "applicationId": "17c82e96", "applicationName": "soil"}
    device |= {"deviceProfileName": "LSE01", "deviceName": "north", "devEui": "0101010101010101", "tags": {"field": "north"}}
    soil = {"soil": {"depth": 10, "moisture": 12.5, "temperature": 9.5, "ec": 1.2}, "air": {"temperature": 20}, "battery": 3.6}
    ids = {"device_id": "dev1", "application_ids": {"application_id": "farm"}, "dev_eui": "0004A30B001C0530"}
    uplink = {"f_port": 1, "f_cnt": 10, "frm_payload": "AQ==", "decoded_payload": {"t": 9.5}, "normalized_payload": [soil]}
    uplink |= {"rx_metadata": [{"gateway_ids": {"gateway_id": "gw"}, "rssi": -35, "snr": 5.2}], "received_at": NOW}
    switch = {"id": 0, "apower": 12.5, "voltage": 230.1, "current": 0.06, "aenergy": {"total": 11.2, "by_minute": [1, 2, 3]}}
    chirpstack = {"deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d", "time": NOW, "deviceInfo": device, "fCnt": 4}
    measured = {"temperature": 22.5, "moisture": 31.0, "ec": 1.5}
    chirpstack |= {"fPort": 2, "data": "qrs=", "object": measured, "rxInfo": [gateway]}
    air = {"Temperature": 20.5, "Humidity": 40.1, "DewPoint": 6.5, "Pressure": 1013.2}
    status = {"src": "shellyplus1pm-1", "dst": "a", "method": "NotifyStatus"}
    return {
        "json": ("farm/north", reading),
        "cloudevents": (
            "farm/north",
            {"specversion": "1.0", "id": "1", "source": "/a", "type": "reading", "time": NOW, "data": reading},
        ),
        "senml": (
            "farm/north",
            [{"bn": "urn:dev:ow:10e2:", "bt": 1.714557600e9, "n": "t", "u": "Cel", "v": 21.5}, {"n": "h", "u": "%RH", "v": 40}],
        ),
        "chirpstack": ("application/17c82e96/device/0101010101010101/event/up", chirpstack),
        "ttn": ("v3/farm@ttn/devices/dev1/up", {"end_device_ids": ids, "received_at": NOW, "uplink_message": uplink}),
        "zigbee2mqtt": (
            "zigbee2mqtt/barn/climate",
            {"battery": 90, "humidity": 40.5, "last_seen": NOW, "linkquality": 120, "temperature": 21.5, "voltage": 2985},
        ),
        "tasmota": (
            "tele/barn/SENSOR",
            {"Time": "2024-05-01T10:00:00", "BME280": air, "TempUnit": "C", "PressureUnit": "hPa"},
        ),
        "shelly": ("shellyplus1pm-1/events/rpc", {**status, "params": {"ts": 1714557600.12, "switch:0": switch}}),
        "fiware": ("/json/key/dev1/attrs", {"t": 20.5, "h": 40, "TimeInstant": NOW}),
    }


def _sparkplug() -> Case:
    birth, data = Payload(timestamp=NOW_MS, seq=0), Payload(timestamp=NOW_MS, seq=1)
    for number in range(20):
        birth.metrics.add(name=f"Inputs/Line {number}/Temperature", alias=number, datatype=9, float_value=21.3)
        data.metrics.add(alias=number, float_value=21.3 + number, timestamp=NOW_MS)
    prior = (("spBv1.0/farm/NBIRTH/n1", birth.SerializeToString()),)
    payload = data.SerializeToString()
    topic = "spBv1.0/farm/NDATA/n1"
    return Case("sparkplug_20_metrics", "sparkplug", topic, payload, _fetch, "protobuf", prior=prior)


def _fetch(payload: bytes) -> list[tuple[int, int, float]]:
    return [(metric.alias, metric.timestamp, metric.float_value) for metric in Payload.FromString(payload).metrics]


def cases() -> list[Case]:
    """A typical payload of each format, and of the binary encodings."""
    made = []
    for name, (topic, document) in _documents().items():
        made.append(Case(name, name, topic, json.dumps(document).encode(), json.loads, "json.loads"))
    topic, reading = _documents()["json"]
    packed, binary = msgspec.msgpack.encode(reading), cbor2.dumps(reading)
    as_msgpack, as_cbor = {"content_type": "application/msgpack"}, {"content_type": "application/cbor"}
    made.append(Case("json_as_msgpack", "json", topic, packed, msgspec.msgpack.decode, "msgspec.msgpack", as_msgpack))
    made.append(Case("json_as_cbor", "json", topic, binary, cbor2.loads, "cbor2", as_cbor))
    records = cbor2.dumps([{-2: "urn:dev:ow:10e2:", -3: 1714557600, 0: "t", 1: "Cel", 2: 21.5}, {0: "h", 1: "%RH", 2: 40}])
    as_senml = {"content_type": "application/senml+cbor"}
    made.append(Case("senml_as_cbor", "senml", topic, records, cbor2.loads, "cbor2", as_senml))
    made.append(Case("text", "text", topic, "leak near the pump, 3 °C".encode(), bytes.decode, "bytes.decode"))
    made.append(Case("auto", "auto", topic, json.dumps(reading).encode(), json.loads, "json.loads"))
    made.append(_sparkplug())
    return [case for case in made if case.format in FORMATS]


def reader(case: Case) -> Callable[[], object]:
    """A call that does with the payload what the daemon does, checked once."""
    ingest = Ingest(IngestSettings(topic="#", format=case.format))
    for topic, payload in case.prior:
        decoded = ingest.decode(topic, payload)
        assert isinstance(decoded, Decoded), decoded
        ingest.accept(topic, decoded)
    decode, topic, payload, properties = ingest.decode, case.topic, case.payload, case.properties
    decoded = decode(topic, payload, properties)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.events, case.label
    return lambda: decode(topic, payload, properties)


def measure(call: Callable[[], object]) -> float:
    """Microseconds for one call."""
    count, end = 0, time.perf_counter() + SECONDS
    start = time.process_time()
    while time.perf_counter() < end:
        for _ in range(20):
            call()
        count += 20
    return (time.process_time() - start) / count * 1e6


def main() -> None:
    """Measure every case and write the figures."""
    figures = []
    for case in cases():
        read = reader(case)
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(ROUNDS):
            ours.append(measure(read))
            bare.append(measure(lambda: case.bare(case.payload)))  # noqa: B023 - called before the next case
        figures.append(Figure(f"{case.label}_per_payload", "us", ours, bare, case.bare_name))
    missing = sorted(FORMATS.keys() - {case.format for case in cases()})
    assert not missing, f"no payload for {', '.join(missing)}"
    write("formats", figures)
    print(f"median of all: {statistics.median(statistics.median(figure.ours) for figure in figures):.1f} us")
