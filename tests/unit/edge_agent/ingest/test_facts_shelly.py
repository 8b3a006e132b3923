"""What the description of format `shelly` promises, case by case."""

from typing import Any

import pytest

FORMAT = "shelly"
SRC = "shellyplus1pm-a8032ab12345"
TOPIC = f"{SRC}/events/rpc"
TIME = "2024-07-01T10:00:00.52Z"
PARTIAL = {"device": SRC, "time": TIME, "quality": ["partial"]}
GONE = {"quality": ["partial", "null"]}


def notify(method: str = "NotifyStatus", ts: Any = 1719828000.52, **params: Any) -> dict[str, Any]:
    return {"src": SRC, "dst": f"{SRC}/events", "method": method, "params": {"ts": ts} | params}


FULL = notify(
    "NotifyFullStatus",
    **{
        "switch:0": {
            "id": 0,
            "output": False,
            "apower": 0.0,
            "voltage": 230.1,
            "aenergy": {"total": 12.5, "by_minute": [1.5, 0, 2], "minute_ts": 1719827940},
            "temperature": {"tC": 45.2, "tF": 113.4},
        },
        "humidity:0": {"id": 0, "rh": 45.5},
        "devicepower:0": {"id": 0, "battery": {"V": 2.95, "percent": 0}},
    },
)
PRIOR = [(TOPIC, FULL)]
CASES: list[tuple[str, list[tuple[str, Any]], Any, list[tuple[Any, ...]]]] = [
    (
        "a full status",
        [],
        FULL,
        [
            ("switch:0.output", "output", False, None, {"device": SRC, "time": TIME, "quality": []}),
            ("switch:0.apower", "power", 0.0, "W"),
            ("switch:0.voltage", "voltage", 230.1, "V"),
            ("switch:0.aenergy.total", "energy", 12.5, "Wh"),
            ("switch:0.aenergy.by_minute.0", "energy", 0.0015, "Wh", {"attributes": {"minute_ts": 1719827940}}),
            ("switch:0.aenergy.by_minute.1", "energy", 0.0, "Wh"),
            ("switch:0.aenergy.by_minute.2", "energy", 0.002, "Wh"),
            ("switch:0.temperature.tC", "temperature", 45.2, "Cel"),
            ("humidity:0.rh", "relative_humidity", 45.5, "%RH"),
            ("devicepower:0.battery.V", "battery_voltage", 2.95, "V"),
            ("devicepower:0.battery.percent", "battery_level", 0, "%EL"),
        ],
    ),
    (
        "a partial one gives what it carries, whatever came before",
        PRIOR,
        notify(**{"switch:0": {"id": 0, "apower": 10.5}}),
        [("switch:0.apower", "power", 10.5, "W", PARTIAL)],
    ),
    ("also alone", [], notify(**{"switch:0": {"apower": 0}}), [("switch:0.apower", "power", 0, "W", PARTIAL)]),
    (
        "a null is no value, and never the last one",
        PRIOR,
        notify(**{"switch:0": {"apower": None, "output": True}}),
        [("switch:0.apower", "power", None, "W", GONE), ("switch:0.output", "output", True, None)],
    ),
    (
        "a key that a null removed is there again",
        [*PRIOR, (TOPIC, notify(**{"switch:0": {"apower": None}}))],
        notify(**{"switch:0": {"apower": 3}}),
        [("switch:0.apower", "power", 3, "W", PARTIAL)],
    ),
    (
        "no time",
        [],
        notify(ts=None, **{"humidity:0": {"rh": 50}}),
        [("humidity:0.rh", "relative_humidity", 50, "%RH", {"time": None, "quality": ["no_time", "partial"]})],
    ),
    ("an event", PRIOR, notify("NotifyEvent", events=[{"component": "input:0", "event": "single_push"}]), []),
]


@pytest.mark.parametrize(("prior", "payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_notification_gives_these_readings(printed: Any, prior: Any, payload: Any, expected: Any) -> None:
    printed.check(expected, TOPIC, payload, prior=prior)


def test_the_device_is_the_source_else_the_prefix(printed: Any) -> None:
    payload = notify(**{"humidity:0": {"rh": 50}})
    for topic in ("farm/north/plug/events/rpc", TOPIC):
        printed.check([("humidity:0.rh", "relative_humidity", 50, "%RH", {"device": SRC})], topic, payload)
    del payload["src"]
    expected = [("humidity:0.rh", "relative_humidity", 50, "%RH", {"device": "farm/north/plug"})]
    printed.check(expected, "farm/north/plug/events/rpc", payload)
    printed.check(expected, "farm/north/plug/status/humidity:0", {"id": 0, "rh": 50})
    assert printed("/events/rpc", payload)[0]["device"]
    assert printed("/status/humidity:0", {"rh": 5})[0]["device"]


@pytest.mark.parametrize("what", ["online", "rpc", "command/switch:0", "debug/log", "status/sys", "status/mqtt"])
def test_other_topics_hold_no_reading(printed: Any, what: str) -> None:
    assert printed(f"{SRC}/{what}", {"connected": True, "uptime": 5}) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xff", "not_utf8"),
        (b"online", "not_json"),
        (b'{"method":"NotifyStatus","params":{"switch:0":{"apower":NaN}}}', "not_json"),
        (b'{"method":"NotifyStatus","params":[]}', "wrong_shape"),
        (b"[" * 30_000, "too_deep"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused(TOPIC, payload, prior=PRIOR) == reason
