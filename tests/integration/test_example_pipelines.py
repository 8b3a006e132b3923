"""Each example pipeline gives results from the events of its sensor in the demo, with the model of the demo."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet_controller.demo.sensors import sensor_events
from fleet_controller.registry.bundles import build_bundle

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "fleet_controller" / "demo" / "models"
EVENTS = 40


def replay(folder: Path, pipeline: str, events: list[tuple[str, dict[str, Any]]], version: str | None) -> list[dict[str, Any]]:
    recording = folder / "events.jsonl"
    recording.write_text("".join(json.dumps({"topic": topic, "payload": payload}) + "\n" for topic, payload in events))
    command = [sys.executable, "-m", "edge_agent.cli", "replay", "--pipeline", pipeline, str(recording)]
    command += ["--config", str(ROOT / "configs" / "pipelines" / f"{pipeline}.toml")]
    if version is not None:
        build_bundle(MODELS / pipeline / version, folder / "bundle.tar")
        command += ["--bundle", str(folder / "bundle.tar")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("pipeline", "kind", "version", "window"),
    [("frost", "weather", "2.0.0", 7), ("leak", "flow", "2.0.0", 24), ("reports", "reports", "1.0.0", 1)],
)
def test_a_pipeline_scores_the_events_of_its_sensor(
    pipeline: str, kind: str, version: str, window: int, tmp_path: Path
) -> None:
    events = list(itertools.islice(sensor_events(kind, "north"), EVENTS))
    results = replay(tmp_path, pipeline, events, version)
    assert len(results) == EVENTS - window + 1
    assert {(result["source"], result["window"]["count"]) for result in results} == {("north", window)}
    assert all(0.0 <= result["outcome"]["score"] <= 1.0 for result in results)
    assert results[-1]["time"] == events[-1][1]["time"]


def test_the_echo_gives_the_readings_back(tmp_path: Path) -> None:
    events = [("sensors/a", {"id": "1", "time": "2026-01-01T00:00:00Z", "x": {"y": 5}}), ("sensors/b", {"id": "2", "z": 1.5})]
    results = replay(tmp_path, "echo", events, None)
    assert [(result["source"], result["outcome"]["values"]) for result in results] == [
        ("sensors/a", {"x.y": 5}),
        ("sensors/b", {"z": 1.5}),
    ]


def test_the_cold_store_raises_and_clears_one_alarm(tmp_path: Path) -> None:
    values = (5.0, 5.1, 1.5, 1.0, 0.9, 5.0, 5.1)
    events = [
        ("farm/a/climate", {"time": f"2026-01-01T10:{number:02}:00Z", "temperature": value, "humidity": 80})
        for number, value in enumerate(values)
    ]
    outcomes = [result["outcome"] for result in replay(tmp_path, "cold", events, None)]
    assert [(outcome["score"], outcome["state"], outcome["changed"]) for outcome in outcomes] == [
        (5.0, "off", False),
        (1.5, "off", False),
        (1.0, "on", True),
        (5.0, "on", False),
        (5.1, "off", True),
    ]
    alarms = [outcome["alarm"] for outcome in outcomes if outcome["alarm"]]
    assert [(alarm["state"], alarm["text"]) for alarm in alarms] == [
        ("raised", "a is at 1 °C"),
        ("active", "a is at 5 °C"),
        ("cleared", "a is at 5.1 °C"),
    ]
    assert len({alarm["id"] for alarm in alarms}) == 1


def test_a_window_that_does_not_fit_the_model_is_a_dead_letter_as_in_the_daemon(tmp_path: Path) -> None:
    events = list(itertools.islice(sensor_events("weather", "north"), 8))
    build_bundle(MODELS / "frost" / "2.0.0", tmp_path / "bundle.tar")
    recording, config = tmp_path / "events.jsonl", tmp_path / "agent.toml"
    recording.write_text("".join(json.dumps({"topic": topic, "payload": payload}) + "\n" for topic, payload in events))
    text = (ROOT / "configs" / "pipelines" / "frost.toml").read_text()
    config.write_text(re.sub(r"(?m)^size = 7\b", "size = 2", text))
    command = [sys.executable, "-m", "edge_agent.cli", "replay", "--pipeline", "frost", str(recording)]
    command += ["--config", str(config), "--bundle", str(tmp_path / "bundle.tar")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("dead letter: north: wrong_shape: ") == 7
