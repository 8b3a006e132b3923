"""MQTT 5 properties."""

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.link.port import NO_PROPERTIES
from edge_agent.link.properties import from_paho, to_paho


def over_the_wire(made: Properties) -> Properties:
    read = Properties(PacketTypes.PUBLISH)
    read.unpack(made.pack())
    return read


def test_properties_come_back_as_they_were_sent() -> None:
    sent = {
        "content_type": "application/json",
        "response_topic": "sh/v1/d/up/reply",
        "correlation": b"\0\1",
        "user": [("a", "1"), ("a", "2")],
    }
    made = to_paho(sent, expiry=12.4)
    assert made is not None
    assert from_paho(over_the_wire(made)) == sent | {"expiry": 12}


def test_a_message_without_properties_shares_one_mapping() -> None:
    assert from_paho(Properties(PacketTypes.PUBLISH)) is NO_PROPERTIES
    assert from_paho(None) is NO_PROPERTIES


def test_nothing_to_send_makes_no_object() -> None:
    assert to_paho(None, None) is None
    assert to_paho({}, None) is None


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="content_type"):
        to_paho({"contenttype": "x"}, None)
