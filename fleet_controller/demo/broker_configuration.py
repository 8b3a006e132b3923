"""Broker configuration for one machine: the shipped Mosquitto files with paths and ports put in, and iotcore's TOML. Pure."""

import json
from collections.abc import Mapping


def with_values(shipped: str, values: Mapping[str, str | None]) -> str:
    """A Mosquitto configuration with the values of some keys replaced; None removes the line. Comments and all else stay.

    Raises:
        ValueError: a key that is to be replaced is not in the file, so the result would not be what the caller thinks.
    """
    lines, seen = [], set()
    for line in shipped.splitlines():
        key = line.split(" ", 1)[0]
        if key not in values:
            lines.append(line)
            continue
        seen.add(key)
        value = values[key]
        if value is not None:
            lines.append(f"{key} {value}")
    missing = values.keys() - seen
    if missing:
        raise ValueError(f"not in the shipped configuration: {', '.join(sorted(missing))}")
    return "\n".join(lines) + "\n"


def iotcore_toml(port: int, users: Mapping[str, str]) -> str:
    """iotcore's configuration: MQTT 5 (its default is 3.1.1), on 127.0.0.1 alone, payloads up to 1 MiB."""
    lines = [
        "id = 0",
        "[router]",
        "id = 0",
        "max_connections = 1000",
        "max_outgoing_packet_count = 200",
        "max_segment_size = 104857600",
        "max_segment_count = 10",
        "[v5.1]",
        'name = "v5-1"',
        f'listen = "127.0.0.1:{port}"',
        "next_connection_delay_ms = 1",
        "[v5.1.connections]",
        "connection_timeout_ms = 60000",
        "max_payload_size = 1048576",
        "max_inflight_count = 100",
        "dynamic_filters = true",
    ]
    if users:
        lines.append("[v5.1.connections.auth]")
        lines += [f"{json.dumps(user)} = {json.dumps(password)}" for user, password in users.items()]
    return "\n".join(lines) + "\n"
