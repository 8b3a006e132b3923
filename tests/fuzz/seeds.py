"""Small valid messages of every format, made by code: what the fuzzer and the property tests start from."""

import json
from typing import Any, Final

import cbor2
import msgspec

from edge_agent.ingest.formats import FORMATS
from edge_agent.ingest.port import Message
from edge_agent.ingest.sparkplug_schema import Payload

NOW_MS: Final = 1_700_000_000_123
NOW: Final = "2023-11-14T22:13:20.123456789Z"

_PLAIN: Final = {
    "id": "e1",
    "time": NOW,
    "d": "s1",
    "values": [1, 2.5, {"temp": -3}],
    "on": True,
    "note": "ok",
    "gone": None,
}
_CHIRPSTACK: Final = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": NOW,
    "deviceInfo": {
        "tenantName": "farm",
        "applicationId": "17c82e96",
        "deviceName": "soil",
        "devEui": "0101010101010101",
        "tags": {"field": "north"},
    },
    "devAddr": "00189440",
    "dr": 1,
    "fCnt": 4,
    "fPort": 1,
    "data": "qrs=",
    "object": {"temperature": 22.5, "soil": [{"moisture": 31}], "ok": False},
    "rxInfo": [{"gatewayId": "0016c001f153a14c", "rssi": -36, "snr": 10.5}, {"gatewayId": "0016c001f153a14d"}],
    "txInfo": {"frequency": 867100000},
    "margin": 10,
    "batteryLevel": 75.5,
    "externalPowerSource": False,
    "batteryLevelUnavailable": False,
    "location": {"latitude": 45.1, "longitude": 9.1, "altitude": 80},
}
_TTN: Final = {
    "end_device_ids": {"device_id": "dev1", "application_ids": {"application_id": "app"}, "dev_eui": "0004A30B001C0530"},
    "received_at": NOW,
    "correlation_ids": ["as:up:01"],
    "uplink_message": {
        "f_port": 1,
        "f_cnt": 10,
        "frm_payload": "AQ==",
        "decoded_payload": {"temperature": 1.0, "list": [1]},
        "normalized_payload": [
            {
                "time": NOW,
                "soil": {"depth": 10, "moisture": 12.5, "temperature": 9, "ec": 1.2, "pH": 7, "n": 1, "p": 2, "k": 3},
                "air": {"temperature": 20, "relativeHumidity": 40, "pressure": 1013, "co2": 400, "lightIntensity": 1000},
                "wind": {"speed": 3.2, "direction": 180},
                "rain": {"intensity": 1, "cumulative": 10},
                "water": {"leak": False, "temperature": {"current": 9}},
                "metering": {"water": {"total": 100}},
                "battery": 3.6,
                "action": {"motion": {"detected": True, "count": 1}},
                "position": {"latitude": 1.5, "longitude": 2.5},
            }
        ],
        "rx_metadata": [{"gateway_ids": {"gateway_id": "gw"}, "rssi": -35, "snr": 5.2, "time": NOW}],
        "settings": {"time": NOW},
        "received_at": NOW,
    },
    "simulated": True,
}
_ZIGBEE: Final = {
    "temperature": 21.5,
    "humidity": 40,
    "battery": 90,
    "voltage": 2985,
    "linkquality": 120,
    "last_seen": NOW,
    "contact": True,
    "occupancy": False,
    "update": {"state": "idle", "installed_version": 1},
    "color": {"x": 0.3, "y": 0.4},
    "device": {"friendlyName": "a", "model": "b"},
    "soil_moisture": 20,
    "power": 3.5,
    "action": None,
}
_TASMOTA: Final = {
    "Time": "2023-11-14T22:13:20",
    "BME280": {"Temperature": 20.5, "Humidity": 40.1, "DewPoint": 6, "Pressure": 1013.2},
    "DS18B20-1": {"Id": "0000", "Temperature": None},
    "ENERGY": {
        "TotalStartTime": "2023-01-01T00:00:00",
        "Total": 12.3,
        "Yesterday": 1.1,
        "Today": 0.4,
        "Period": 2,
        "Power": [10, 20, 30],
        "Factor": [0.9, 0.8, 0.7],
        "Voltage": 230,
        "Current": 0.1,
    },
    "TempUnit": "F",
    "PressureUnit": "mmHg",
    "SpeedUnit": "km/h",
}
_SHELLY: Final = {
    "src": "shellyplus-1",
    "dst": "shelly/events",
    "method": "NotifyStatus",
    "params": {
        "ts": 1700000000.12,
        "switch:0": {
            "id": 0,
            "source": "timer",
            "output": True,
            "apower": 12.5,
            "voltage": 230.1,
            "current": None,
            "aenergy": {"total": 11.2, "by_minute": [1.5, 0, 2], "minute_ts": 1700000000},
            "temperature": {"tC": 40.5, "tF": 104.9},
        },
        "humidity:0": {"rh": 40.5},
        "temperature:0": {"tC": 20.5, "tF": 68.9},
        "devicepower:0": {"battery": {"V": 3.0, "percent": 90}, "external": {"present": False}},
    },
}
_SENML: Final = [
    {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076e9, "bu": "A", "bver": 5, "n": "voltage", "u": "V", "v": 120.1},
    {"n": "current", "t": -5, "v": 1.2, "s": 3.5, "ut": 10},
    {"n": "label", "vs": "Machine Room"},
    {"n": "open", "vb": False},
    {"n": "blob", "vd": "aGk", "bs": 1, "bv": 2.5},
]
_SENML_LABELS: Final = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6} | dict(
    zip(["n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"], range(9), strict=True)
)
_CLOUD_EVENT: Final = {
    "specversion": "1.0",
    "id": "1",
    "source": "/sensors/a",
    "type": "reading",
    "subject": "room",
    "time": NOW,
    "datacontenttype": "application/json",
    "data": {"temperature": 20.5},
}
_FIWARE: Final = {
    "t": 20.5,
    "h": {"type": "Property", "value": 40, "unitCode": "P1", "observedAt": NOW},
    "TimeInstant": NOW,
    "list": [1, 2],
}


def _text(document: Any) -> bytes:
    return json.dumps(document).encode()


def _user(**pairs: str) -> dict[str, Any]:
    return {"user": list(pairs.items())}


def _sparkplug() -> list[Message]:
    birth = Payload(timestamp=NOW_MS, seq=0)
    birth.metrics.add(name="bdSeq", datatype=8, long_value=1)
    metric = birth.metrics.add(name="a/temperature", alias=1, datatype=9, float_value=21.3, timestamp=NOW_MS - 5)
    metric.properties.keys.extend(["engUnit", "Quality"])
    metric.properties.values.add(type=12, string_value="°F")
    metric.properties.values.add(type=3, int_value=192)
    birth.metrics.add(name="level", alias=2, datatype=1, int_value=251)
    birth.metrics.add(name="words", alias=3, datatype=33, bytes_value=b"a\0b\0")
    birth.metrics.add(name="flags", alias=4, datatype=32, bytes_value=b"\3\0\0\0\xa0")
    table = birth.metrics.add(name="table", alias=5, datatype=16).dataset_value
    table.num_of_columns = 2
    table.columns.extend(["x", "y"])
    table.types.extend([10, 12])
    cells = table.rows.add().elements
    cells.add(double_value=0.5)
    cells.add(string_value="z")
    template = birth.metrics.add(name="motor", alias=6, datatype=19).template_value
    template.template_ref = "Motor"
    template.metrics.add(name="rpm", datatype=2, int_value=65535)
    template.parameters.add(name="p", type=3, int_value=1)
    data = Payload(timestamp=NOW_MS + 1, seq=1)
    data.metrics.add(alias=1, float_value=20.5, is_historical=True)
    data.metrics.add(alias=2, long_value=2**64 - 5, is_transient=True)
    data.metrics.add(name="level", is_null=True)
    data.metrics.add(alias=9, double_value=float("nan"))
    death = Payload(timestamp=NOW_MS)
    death.metrics.add(name="bdSeq", datatype=8, long_value=1)
    kinds = (("NBIRTH/n", birth), ("NDATA/n", data), ("DBIRTH/n/d", birth), ("DDATA/n/d", data), ("DDEATH/n/d", data))
    more = (("NDEATH/n", death), ("NCMD/n", data))
    messages = [Message(f"spBv1.0/g/{topic}", payload.SerializeToString()) for topic, payload in (*kinds, *more)]
    return [*messages, Message("spBv1.0/STATE/host", b'{"online": true, "timestamp": 1}')]


def _json() -> list[Message]:
    return [
        Message("farm/a", _text(_PLAIN)),
        Message("farm/a", cbor2.dumps(_PLAIN), {"content_type": "application/cbor"}),
        Message("farm/a", cbor2.dumps({"t": cbor2.CBORTag(4, [-1, 205]), "b": b"x"}), {"content_type": "application/cbor"}),
        Message("farm/a", msgspec.msgpack.encode(_PLAIN), {"content_type": "application/msgpack"}),
    ]


def _cloudevents() -> list[Message]:
    attributes = {key: value for key, value in _CLOUD_EVENT.items() if type(value) is str and key != "datacontenttype"}
    structured = {"content_type": "application/cloudevents+json"}
    batch = {"content_type": "application/cloudevents-batch+json"}
    return [
        Message("farm/a", _text(_CLOUD_EVENT), structured),
        Message("farm/a", _text(_CLOUD_EVENT | {"data_base64": "eyJhIjoxfQ=="}), structured),
        Message("farm/a", _text([_CLOUD_EVENT]), batch),
        Message("farm/a", _text(_CLOUD_EVENT["data"]), {"content_type": "application/json", **_user(**attributes)}),
    ]


def _senml() -> list[Message]:
    binary = [{_SENML_LABELS[key]: value for key, value in record.items()} for record in _SENML]
    exact = [{0: "a", 2: cbor2.CBORTag(4, [-1, 205]), 6: cbor2.CBORTag(4, [-3, 1_700_000_000_123])}]
    return [
        Message("farm/a", _text(_SENML), {"content_type": "application/senml+json"}),
        Message("farm/a", _text(_SENML)),
        Message("farm/a", cbor2.dumps(binary), {"content_type": "application/senml+cbor"}),
        Message("farm/a", cbor2.dumps(exact), {"content_type": "application/senml+cbor"}),
    ]


def _make() -> dict[str, list[Message]]:
    application = "application/17c82e96/device/0101010101010101/event"
    kinds = ("up", "status", "join", "log", "location", "ack", "txack", "integration")
    whole = {**_SHELLY, "method": "NotifyFullStatus"}
    event = {**_SHELLY, "method": "NotifyEvent", "params": {"ts": 1.5, "events": [{"component": "input:0", "event": "push"}]}}
    made = {
        "json": _json(),
        "text": [Message("farm/notes", "°C: leak near the pump".encode()), Message("farm/notes", _text(_PLAIN))],
        "cloudevents": _cloudevents(),
        "senml": _senml(),
        "chirpstack": [Message(f"{application}/{kind}", _text(_CHIRPSTACK)) for kind in kinds],
        "ttn": [
            Message("v3/app@tenant/devices/dev1/up", _text(_TTN)),
            Message("v3/app/devices/dev1/up", _text(_TTN)),
            Message("v3/app@tenant/devices/dev1/join", _text(_TTN)),
        ],
        "zigbee2mqtt": [
            Message("zigbee2mqtt/barn/door", _text(_ZIGBEE)),
            Message("zigbee2mqtt/barn/door", _text(_ZIGBEE | {"last_seen": NOW_MS, "battery": None})),
            Message("zigbee2mqtt/barn/door/availability", b'{"state": "online"}'),
            Message("zigbee2mqtt/bridge/state", b"online"),
        ],
        "tasmota": [Message("tele/plug/SENSOR", _text(_TASMOTA)), Message("tele/plug/LWT", b"Online")],
        "shelly": [
            Message("shellyplus-1/events/rpc", _text(whole)),
            Message("shellyplus-1/events/rpc", _text(_SHELLY)),
            Message("shellyplus-1/events/rpc", _text(event)),
            Message("shellyplus-1/status/switch:0", _text(_SHELLY["params"]["switch:0"])),
        ],
        "sparkplug": _sparkplug(),
        "fiware": [
            Message("/json/key/dev1/attrs", _text(_FIWARE)),
            Message("key/dev1/attrs", _text([_FIWARE, _FIWARE])),
            Message("json/key/dev1/attrs/t", b"20.5"),
        ],
    }
    made["auto"] = [messages[0] for messages in made.values()]
    return made


_SEEDS: Final = _make()


def seeds_of(name: str) -> list[Message]:
    """Valid messages of a format; those of `json` for a format that has none of its own here."""
    return _SEEDS.get(name, _SEEDS["json"])


def unseeded() -> list[str]:
    """Formats of the table for which there are no messages."""
    return sorted(FORMATS.keys() - _SEEDS.keys())
