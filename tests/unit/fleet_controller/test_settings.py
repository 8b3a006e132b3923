"""The controller's configuration: strict, with units, the environment above the file."""

from pathlib import Path

import pytest

from fleet_controller.settings import SettingsError, known_keys, load_settings, parse_duration


def write(path: Path, text: str) -> Path:
    file = path / "controller.toml"
    file.write_text(text)
    return file


def test_durations_carry_units_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = 'state_dir = "state"\n[rollouts]\nsoak = "1h 30min"\n[mqtt]\npassword_file = "password"\nkeepalive = 20\n'
    settings = load_settings(write(tmp_path, text))
    assert settings.state_dir == tmp_path / "state"
    assert settings.mqtt.password_file == tmp_path / "password"
    assert settings.rollouts.soak == 5400.0
    assert settings.mqtt.keepalive == 20.0
    assert settings.database_url == f"sqlite:///{tmp_path}/state/controller.db"


def test_the_environment_is_above_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLHOLD_CONTROLLER__MQTT__HOST", "broker.example")
    settings = load_settings(write(tmp_path, 'state_dir = "state"\n[mqtt]\nhost = "other"\nport = 8883\n'))
    assert (settings.mqtt.host, settings.mqtt.port) == ("broker.example", 8883)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('state_dir = "s"\n[mqtt]\nhots = "x"', "controller.toml: mqtt.hots: unknown key; did you mean 'mqtt.host'?"),
        ('state_dir = "s"\nsoak = 3', "controller.toml: soak: unknown key; did you mean 'rollouts.soak'?"),
        ('state_dir = "s"\n[mqtt]\nport = 99999', "controller.toml: mqtt.port: "),
        ('state_dir = "s"\n[rollouts]\nsoak = "10 mins"', "rollouts.soak: '10 mins' is not a duration"),
        ("", "controller.toml: state_dir: is required"),
        ("state_dir = ", "controller.toml: Invalid value"),
    ],
)
def test_a_mistake_names_file_key_and_remedy(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, text))
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_misspelt_variable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLHOLD_CONTROLLER__MQT__HOST", "x")
    with pytest.raises(SettingsError, match=r"did you mean 'mqtt\.host'"):
        load_settings(write(tmp_path, 'state_dir = "s"'))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(("text", "seconds"), [("20ms", 0.02), ("1.5min", 90.0), ("2d", 172800.0), ("12", 12.0)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


def test_every_key_is_known_once() -> None:
    keys = known_keys()
    assert len(keys) == len(set(keys))
    assert {"state_dir", "mqtt.host", "http.port", "rollouts.soak"} <= set(keys)
