"""Broker configuration for one machine."""

import tomllib
from importlib.resources import files

import pytest

from fleet_controller.demo.broker_configuration import iotcore_toml, with_values


def test_values_are_replaced_and_removed_and_the_rest_stays() -> None:
    assert with_values("# a\nlistener 8883\ncafile /x\npersistence true\n", {"listener": "1 127.0.0.1", "cafile": None}) == (
        "# a\nlistener 1 127.0.0.1\npersistence true\n"
    )


def test_a_key_that_is_not_in_the_shipped_file_is_an_error() -> None:
    with pytest.raises(ValueError, match="listner"):
        with_values("listener 1\n", {"listner": "2"})


@pytest.mark.parametrize("role", ["fleet", "site"])
def test_the_shipped_files_keep_what_was_acknowledged(role: str) -> None:
    shipped = (files("fleet_controller.demo") / "mosquitto" / f"{role}.conf").read_text().splitlines()
    for setting in (
        "persistence true",
        "autosave_on_changes true",
        "autosave_interval 1",
        "max_queued_messages 100000000",
        "allow_anonymous false",
    ):
        assert setting in shipped


def test_the_embedded_broker_listens_on_this_machine_alone_and_speaks_mqtt_5() -> None:
    server = tomllib.loads(iotcore_toml(1999, {'a"b': "p"}))["v5"]["1"]
    assert server["listen"] == "127.0.0.1:1999"
    assert server["connections"]["auth"] == {'a"b': "p"}
