"""The demo's recordings and sensors."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise

import pytest

from fleet_controller.demo.recordings import flow_hours, weather_days
from fleet_controller.demo.sensors import SENSORS, Event, sensor_events

Sensor = Callable[..., Iterator[Event]]


def test_the_recordings_have_the_documented_number_of_rows() -> None:
    assert (len(weather_days()), len(flow_hours())) == (1461, 1268)


@pytest.mark.parametrize("sensor", SENSORS.values())
def test_the_same_sensor_sends_the_same_events_again(sensor: Sensor) -> None:
    assert list(sensor("a", seed=1)) == list(sensor("a", seed=1))


@pytest.mark.parametrize("sensor", SENSORS.values())
def test_two_sensors_send_different_series(sensor: Sensor) -> None:
    def content(place: str) -> list[object]:
        return [{key: value for key, value in payload.items() if key != "id"} for _, payload in sensor(place)][:100]

    assert content("a") != content("b")


@pytest.mark.parametrize("sensor", SENSORS.values())
def test_ids_are_unique_and_event_times_only_grow(sensor: Sensor) -> None:
    events = [payload for _, payload in sensor("a")]
    assert len(events) > 400
    assert len({event["id"] for event in events}) == len(events)
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize("kind", SENSORS)
def test_the_kind_of_a_sensor_is_the_last_level_of_its_topic(kind: str) -> None:
    assert next(sensor_events(kind, "a"))[0].split("/")[1:] == ["a", kind]
