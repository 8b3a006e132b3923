"""The commented example of the controller: it loads, it names every key there is, and what it says of defaults is true."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fleet_controller.settings import ControllerSettings, known_keys, load_settings

EXAMPLE = Path(__file__).parents[3] / "configs" / "controller.example.toml"
EXAMPLES_NOT_DEFAULTS = {
    "state_dir",
    "database.url",
    "log_json",
    "mqtt.client_id",
    "mqtt.username",
    "mqtt.password_file",
    "mqtt.ca_file",
    "mqtt.cert_file",
    "mqtt.key_file",
    "http.public_url",
    "registry.passphrase_file",
    "enrolment.broker_password_file",
    "enrolment.broker_pid_file",
    "enrolment.broker_host",
    "enrolment.broker_port",
}
"""Keys whose default is that there is none; the example shows what one may look like."""


@pytest.fixture
def uncommented(tmp_path: Path) -> Path:
    """The example with every commented-out key switched on."""
    text = re.sub(r"(?m)^# (?=\[[a-z]+\]$|[a-z0-9_]+ =)", "", EXAMPLE.read_text())
    path = tmp_path / "controller.toml"
    path.write_text(text)
    return path


def leaves(model: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Dotted key to value."""
    found: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name: value}
    return found


def test_the_example_loads_as_it_is() -> None:
    assert load_settings(EXAMPLE).state_dir == Path("/var/lib/fleet-controller")


def test_the_example_names_every_key_and_no_other(uncommented: Path) -> None:
    def keys(table: dict[str, Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, value in table.items():
            found |= keys(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
        return found

    assert keys(tomllib.loads(uncommented.read_text())) == set(known_keys())


def test_what_the_example_calls_a_default_is_one(uncommented: Path) -> None:
    shown = leaves(load_settings(uncommented))
    default = leaves(ControllerSettings(state_dir=Path("/nowhere")))
    differing = {key for key in default if shown[key] != default[key]}
    assert differing == EXAMPLES_NOT_DEFAULTS
