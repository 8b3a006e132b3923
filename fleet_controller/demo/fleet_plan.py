"""Who is in the demo's fleet: devices, what they run, and their configuration as text. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECONDS_BETWEEN_EVENTS: Final = {"weather": 0.25, "flow": 0.25, "reports": 0.6}
"""Real seconds between two events of one sensor, that is one recorded day, one hour, one report. The shortest recording lasts
four and a half minutes so, which a slow machine may need."""
HEALTH_INTERVAL: Final = 2.0


@dataclass(frozen=True, slots=True)
class Stream:
    """One sensor of a device and the pipeline that reads it."""

    kind: str
    """A key of `publisher.SENSORS`."""
    pipeline: str
    model: str
    pipeline_lines: tuple[str, ...]
    """What stands in the pipeline's configuration beside names; `{place}` is the device's place."""


WEATHER: Final = Stream(
    "weather",
    "frost",
    "frost",
    (
        "[pipelines.source]",
        'topic = "farm/{place}/weather"',
        "device_level = 1",
        'values = {{ temp_max = "temp_max", temp_min = "temp_min", wind = "wind", precipitation = "precipitation" }}',
        'units = {{ temp_max = "Cel", temp_min = "Cel", wind = "m/s", precipitation = "mm" }}',
        "[pipelines.window]",
        "size = 7",
        "step = 1",
    ),
)
FLOW: Final = Stream(
    "flow",
    "leak",
    "leak",
    (
        "[pipelines.source]",
        'topic = "city/{place}/flow"',
        "device_level = 1",
        'values = {{ flow = "flow" }}',
        'units = {{ flow = "l/s" }}',
        "[pipelines.window]",
        "size = 24",
        "step = 1",
    ),
)
REPORTS: Final = Stream(
    "reports",
    "reports",
    "reports",
    (
        "[pipelines.source]",
        'topic = "city/{place}/reports"',
        "device_level = 1",
        'format = "text"',
        'text_path = "text"',
    ),
)


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the fleet."""

    name: str
    site: str
    """Its label `site`."""
    place: str
    """Where its sensors are."""
    streams: tuple[Stream, ...]


DEVICES: Final = (
    Device("farm-1", "farm", "north", (WEATHER,)),
    Device("farm-2", "farm", "south", (WEATHER,)),
    Device("city-1", "city", "harbour", (FLOW, REPORTS)),
    Device("city-2", "city", "hill", (FLOW, REPORTS)),
)
UPDATED: Final = {"frost": "farm", "leak": "city"}
"""The two models that get new versions, and the site whose devices run them."""
WORSE: Final = ("frost", "farm")
"""The model that gets a version 5, and the site."""
CANARY: Final = "farm-1"
"""The device that gets it first: the first of its site. Its own link to the fleet can be cut."""
WATCHED_INPUTS: Final = 20
WATCHED_SECONDS: Final = 4
"""How long a new version shadows, and then is on probation."""
GATEWAYS: Final = ("farm", "city")
"""One process for the sensors of each site."""


def agent_toml(device: Device, issued: str, *, state_dir: Path, control_socket: Path, site_port: int, password: Path) -> str:
    """The agent's configuration: what `fleet device add` has written (`issued`), and the device's own part.

    Waiting times are short, because the demo is.
    """
    text = json.dumps  # a TOML basic string has JSON's escapes
    lines = [
        f"state_dir = {text(str(state_dir))}",
        f"control_socket = {text(str(control_socket))}",
        "log_json = false",
        "",
        issued.replace("[mqtt]\n", '[mqtt]\nbackoff_min = "300ms"\nbackoff_max = "2s"\n').rstrip(),
        'retry_min = "1s"',
        'retry_max = "2s"',
        "[updates.shadow]",
        f"inputs = {WATCHED_INPUTS}",
        f"time = {WATCHED_SECONDS}",
        "[updates.probation]",
        f"inputs = {WATCHED_INPUTS}",
        f"time = {WATCHED_SECONDS}",
        "[updates.limits]",
        # the machine of a demo may be busy with anything
        'latency_slack = "500ms"',
        # In winter the frost model is less sure anyway, and version 5 has to fall below. How sure the leak model is
        # differs more between two stretches of twenty inputs than between two of its versions.
        f"min_confidence_ratio = {0.7 if device.site == WORSE[1] else 0.5}",
        "",
        "[site]",
        'host = "127.0.0.1"',
        f"port = {site_port}",
        f"username = {text(device.name + '-site')}",
        f"password_file = {text(str(password))}",
        "",
        "[health]",
        f"interval = {HEALTH_INTERVAL}",
    ]
    for stream in device.streams:
        lines += [
            "",
            "[[pipelines]]",
            f"name = {text(stream.pipeline)}",
            f"model = {text(stream.model)}",
            "durable = true",
            *(line.format(place=device.place) for line in stream.pipeline_lines),
        ]
    return "\n".join(lines) + "\n"


def sensor_plan(site: str, devices: Iterable[Device], *, port: int, password: Path, logs: Path) -> dict[str, object]:
    """What the sensors' process of a site publishes (`publisher.Plan`)."""
    return {
        "host": "127.0.0.1",
        "port": port,
        "username": f"{site}-gateway",
        "password_file": str(password),
        "streams": [
            {
                "kind": stream.kind,
                "place": device.place,
                "interval": SECONDS_BETWEEN_EVENTS[stream.kind],
                "log": str(sensor_log(logs, device, stream)),
            }
            for device in devices
            if device.site == site
            for stream in device.streams
        ],
    }


def sensor_log(logs: Path, device: Device, stream: Stream) -> Path:
    """The sensor's own log of what it has sent."""
    return logs / f"{device.name}-{stream.kind}.jsonl"
