from typing import Any

import pytest

from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.formats import Ingest
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

NBIRTH, NDATA, NDEATH = "spBv1.0/farm/NBIRTH/n1", "spBv1.0/farm/NDATA/n1", "spBv1.0/farm/NDEATH/n1"
DBIRTH, DDATA, DDEATH = (f"spBv1.0/farm/{kind}/n1/pump" for kind in ("DBIRTH", "DDATA", "DDEATH"))
NOW = 1_700_000_000_123
NOW_TEXT = "2023-11-14T22:13:20.123Z"
INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING, DATE_TIME = range(1, 14)
TEXT, UUID, DATA_SET, BYTES, FILE, TEMPLATE = range(14, 20)


def payload(*metrics: dict[str, Any], seq: int | None = None, timestamp: int | None = NOW) -> bytes:
    """A payload; a metric may have `properties` as a dict of texts and whole numbers."""
    built = Payload(timestamp=timestamp, seq=seq)
    for fields in metrics:
        properties = fields.pop("properties", {})
        metric = built.metrics.add(**fields)
        for key, value in properties.items():
            metric.properties.keys.append(key)
            metric.properties.values.add(**({"string_value": value} if isinstance(value, str) else {"int_value": value}))
    data: bytes = built.SerializeToString()
    return data


def birth(*metrics: dict[str, Any], bd_seq: int = 0, seq: int = 0, timestamp: int = NOW) -> bytes:
    return payload({"name": "bdSeq", "datatype": INT64, "long_value": bd_seq}, *metrics, seq=seq, timestamp=timestamp)


TEMPERATURE = {"name": "Inputs/Temperature", "alias": 1, "datatype": FLOAT, "float_value": 20.5}
LEVEL = {"name": "level", "alias": 2, "datatype": INT8, "int_value": 5}


class Host:
    """A source that hears messages in turn, as the engine feeds it."""

    def __init__(self, **settings: Any) -> None:
        self.ingest = Ingest(IngestSettings(topic="spBv1.0/#", format="sparkplug", **settings))
        self.stored: dict[str, bytes] = {}

    def hear(self, topic: str, data: bytes) -> Decoded | DeadLetter:
        decoded = self.ingest.decode(topic, data)
        assert self.ingest.errors == 0
        if isinstance(decoded, Decoded):
            stream = self.ingest.accept(topic, decoded)
            if stream is not None:
                self.stored[stream] = self.ingest.state(stream)
        return decoded

    def read(self, topic: str, data: bytes) -> list[Reading]:
        decoded = self.hear(topic, data)
        assert isinstance(decoded, Decoded), decoded
        return list(decoded.events)  # type: ignore[arg-type]

    def values(self, topic: str, data: bytes) -> dict[str, Any]:
        return {reading.name: reading.value for reading in self.read(topic, data)}

    def asked(self, topic: str, data: bytes) -> list[str]:
        return [request.topic for request in self.hear(topic, data).requests]

    def restart(self) -> "Host":
        """A fresh process that has what was stored."""
        after = Host()
        after.ingest.restore(self.stored)
        return after


@pytest.fixture
def host() -> Host:
    return Host()


def test_the_bytes_of_another_encoder_are_read() -> None:
    metric = b"\x0a\x01T" + b"\x10\x07" + b"\x18\xfb\xd0\x95\xff\xbc\x31" + b"\x20\x0a" + b"\x69" + b"\0\0\0\0\0\x80\x35\x40"
    data = b"\x08\xfb\xd0\x95\xff\xbc\x31" + b"\x12" + bytes([len(metric)]) + metric + b"\x18\x00"
    (reading,) = Host().read(NBIRTH, data)
    assert (reading.name, reading.value, reading.time) == ("T", 21.5, NOW_TEXT)


def test_a_birth_gives_readings_of_its_node_or_device(host: Host) -> None:
    (reading,) = host.read(NBIRTH, birth(TEMPERATURE))
    assert reading == Reading("farm/n1", "temperature", 20.5, None, NOW_TEXT, "Inputs/Temperature")
    (reading,) = host.read(DBIRTH, payload({"name": "flow", "alias": 2, "datatype": DOUBLE, "double_value": 0.1}, seq=1))
    assert (reading.device, reading.quantity, reading.value) == ("farm/n1/pump", "flow", 0.1)


def test_a_configured_level_of_the_topic_is_the_device() -> None:
    (reading,) = Host(device_level=3).read(NBIRTH, birth(TEMPERATURE))
    assert reading.device == "n1"


def test_data_with_aliases_alone_is_read_by_the_birth(host: Host) -> None:
    host.hear(NBIRTH, birth(TEMPERATURE, LEVEL))
    host.hear(DBIRTH, payload({"name": "a/b/c", "alias": 3, "datatype": UINT16, "int_value": 1}, seq=1))
    data = payload({"alias": 1, "float_value": 21.3}, {"alias": 2, "int_value": 0xFE}, seq=2)
    assert host.values(NDATA, data) == {"Inputs/Temperature": 21.3, "level": -2}
    (reading,) = host.read(DDATA, payload({"alias": 3, "int_value": 7}, seq=3))
    assert (reading.device, reading.name, reading.quantity, reading.value) == ("farm/n1/pump", "a/b/c", "c", 7)


def test_alias_zero_is_an_alias(host: Host) -> None:
    host.hear(NBIRTH, birth({"name": "zero", "alias": 0, "datatype": BOOLEAN, "boolean_value": True}))
    assert host.values(NDATA, payload({"alias": 0, "boolean_value": False}, seq=1)) == {"zero": False}


def test_aliases_of_two_nodes_are_kept_apart(host: Host) -> None:
    host.hear(NBIRTH, birth(TEMPERATURE))
    host.hear("spBv1.0/farm/NBIRTH/n2", birth({"name": "wind", "alias": 1, "datatype": INT32, "int_value": 1}))
    host.hear("spBv1.0/town/NBIRTH/n1", birth({"name": "noise", "alias": 1, "datatype": INT32, "int_value": 1}))
    assert host.values(NDATA, payload({"alias": 1, "float_value": 1.5}, seq=1)) == {"Inputs/Temperature": 1.5}


def test_the_last_birth_counts(host: Host) -> None:
    host.hear(NBIRTH, birth(TEMPERATURE))
    host.hear(NBIRTH, birth(dict(LEVEL, alias=1), seq=0, bd_seq=1))
    assert host.values(NDATA, payload({"alias": 1, "int_value": 0xFF}, seq=1)) == {"level": -1}
    host.hear(DBIRTH, payload(dict(TEMPERATURE, alias=8), seq=2))
    host.hear(DBIRTH, payload(dict(TEMPERATURE, alias=9), seq=3))
    letter = host.hear(DDATA, payload({"alias": 8, "float_value": 1.0}, seq=4))
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.UNKNOWN_ALIAS


def test_a_nodes_birth_ends_the_births_of_its_devices(host: Host) -> None:
    host.hear(NBIRTH, birth(TEMPERATURE))
    host.hear(DBIRTH, payload(dict(LEVEL), seq=1))
    host.hear(NBIRTH, birth(TEMPERATURE))
    letter = host.hear(DDATA, payload({"alias": 2, "int_value": 1}, seq=1))
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.UNKNOWN_ALIAS
    assert [request.topic for request in letter.requests] == ["spBv1.0/farm/NCMD/n1"]


def test_what_has_a_name_and_a_datatype_is_read_before_any_birth_and_the_birth_is_asked_for(host: Host) -> None:
    data = payload({"name": "level", "datatype": INT8, "int_value": 0xFF}, {"alias": 5, "int_value": 3}, seq=7)
    decoded = host.hear(NDATA, data)
    assert isinstance(decoded, Decoded)
    (reading,) = decoded.events
    assert isinstance(reading, Reading)
    assert (reading.name, reading.value, reading.quality) == ("level", -1, ("partial",))
    (request,) = decoded.requests
    command = Payload.FromString(request.payload)
    assert request.topic == "spBv1.0/farm/NCMD/n1"
    assert (command.metrics[0].name, command.metrics[0].datatype, command.metrics[0].boolean_value) == (
        "Node Control/Rebirth",
        BOOLEAN,
        True,
    )
    assert command.timestamp
    assert not command.HasField("seq")


def test_readable_data_before_any_birth_asks_for_the_birth_too(host: Host) -> None:
    assert host.asked(NDATA, payload(dict(TEMPERATURE), seq=1)) == ["spBv1.0/farm/NCMD/n1"]
    host.hear(DBIRTH, payload(dict(TEMPERATURE), seq=2))
    assert host.asked(DDATA, payload({"alias": 1, "float_value": 1.0}, seq=3)) == ["spBv1.0/farm/NCMD/n1"]
    host.hear(NBIRTH, birth(LEVEL))
    assert host.asked(NDATA, payload(dict(LEVEL), seq=1)) == []


def test_an_integer_without_a_datatype_is_not_guessed(host: Host) -> None:
    letter = host.hear(NDATA, payload({"name": "level", "int_value": 0xFF}, seq=1))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, "datatype" in letter.detail) == (Reason.UNKNOWN_ALIAS, True)
    host.hear(NBIRTH, birth(LEVEL))
    assert host.values(NDATA, payload({"name": "level", "int_value": 0xFF}, seq=1)) == {"level": -1}


def test_seq_wraps_and_a_birth_may_start_anywhere(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL, seq=254))
    assert host.asked(NDATA, payload({"alias": 2, "int_value": 1}, seq=255)) == []
    assert host.asked(DBIRTH, payload(dict(TEMPERATURE), seq=0)) == []
    assert host.asked(DDATA, payload({"alias": 1, "float_value": 1.0}, seq=1)) == []
    assert host.asked(DDEATH, payload(seq=2)) == []
    assert host.asked(NDATA, payload({"alias": 2, "int_value": 1}, seq=3)) == []


def test_a_gap_asks_for_a_birth_once_and_loses_nothing(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL))
    decoded = host.hear(NDATA, payload({"alias": 2, "int_value": 9}, seq=2))
    assert isinstance(decoded, Decoded)
    assert ([request.topic for request in decoded.requests], len(decoded.events)) == (["spBv1.0/farm/NCMD/n1"], 1)
    assert host.asked(NDATA, payload({"alias": 2, "int_value": 9}, seq=3)) == []


def test_a_redelivery_has_the_same_id_and_leaves_no_gap_behind(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL))
    first = payload({"alias": 2, "int_value": 1}, seq=1)
    decoded = host.hear(NDATA, first)
    again = host.ingest.decode(NDATA, first)  # a repeat: the engine does not accept its state nor send its requests
    assert isinstance(decoded, Decoded)
    assert isinstance(again, Decoded)
    assert decoded.own_id is not None
    assert again.own_id == decoded.own_id
    assert host.asked(NDATA, payload({"alias": 2, "int_value": 2}, seq=2)) == []


def test_messages_with_one_seq_have_different_ids(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL))
    stopped = [payload({"alias": 2, "int_value": value}, seq=1) for value in (1, 2)]  # of a node whose clock stands
    later = payload({"alias": 2, "int_value": 1}, seq=1, timestamp=NOW + 1)
    ids = [host.hear(NDATA, data).own_id for data in (*stopped, later)]  # type: ignore[union-attr]
    assert len({*ids}) == 3
    without = host.hear(NDATA, payload({"alias": 2, "int_value": 1}, seq=1, timestamp=None))
    assert isinstance(without, Decoded)
    assert (without.own_id, without.time, without.events[0].quality) == (None, None, ("no_time",))


def test_a_death_ends_the_births_of_its_own_session_only(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL, bd_seq=4))
    assert host.read(NDEATH, payload({"name": "bdSeq", "datatype": INT64, "long_value": 3}, timestamp=None)) == []
    assert host.values(NDATA, payload({"alias": 2, "int_value": 1}, seq=1)) == {"level": 1}
    assert host.read(NDEATH, payload({"name": "bdSeq", "datatype": INT64, "long_value": 4}, timestamp=None)) == []
    assert isinstance(host.hear(NDATA, payload({"alias": 2, "int_value": 1}, seq=2)), DeadLetter)


def test_a_devices_death_ends_its_birth_alone(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL))
    host.hear(DBIRTH, payload(dict(TEMPERATURE), seq=1))
    assert host.read(DDEATH, payload(seq=2)) == []
    assert host.values(NDATA, payload({"alias": 2, "int_value": 1}, seq=3)) == {"level": 1}
    assert isinstance(host.hear(DDATA, payload({"alias": 1, "float_value": 1.0}, seq=4)), DeadLetter)


def test_births_outlive_a_restart_and_any_seq_may_follow(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL, bd_seq=7))
    host.hear(DBIRTH, payload(dict(TEMPERATURE, properties={"engUnit": "°C"}), seq=1))
    stored = dict(host.stored)
    host.hear(NDATA, payload({"alias": 2, "int_value": 1}, seq=2))
    assert host.stored == stored
    assert list(host.stored) == ["farm/n1"]
    after = host.restart()
    assert after.asked(NDATA, payload({"alias": 2, "int_value": 0xFF}, seq=99)) == []
    assert after.asked(NDATA, payload({"alias": 2, "int_value": 0xFF}, seq=101)) == ["spBv1.0/farm/NCMD/n1"]
    (reading,) = after.read(DDATA, payload({"alias": 1, "float_value": 21.3}, seq=102))
    assert (reading.value, reading.unit) == (21.3, "Cel")
    after.hear(NDEATH, payload({"name": "bdSeq", "datatype": INT64, "long_value": 6}))
    assert after.values(NDATA, payload({"alias": 2, "int_value": 3}, seq=103)) == {"level": 3}


def test_a_death_outlives_a_restart(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL))
    host.hear(NDEATH, payload({"name": "bdSeq", "datatype": INT64, "long_value": 0}))
    assert isinstance(host.restart().hear(NDATA, payload({"alias": 2, "int_value": 1})), DeadLetter)


@pytest.mark.parametrize("topic", ["spBv1.0/farm/NCMD/n1", "spBv1.0/farm/DCMD/n1/pump", "STATE/scada", "spBv1.0/STATE/scada"])
def test_commands_and_states_of_hosts_are_no_readings(host: Host, topic: str) -> None:
    assert host.read(topic, b'{"online": true, "timestamp": 1700000000123}') == []
    assert host.read(topic, payload(dict(TEMPERATURE))) == []


@pytest.mark.parametrize(
    "topic",
    [
        "spBv1.0/farm/NDATA",
        "spBv1.0/farm/NDATA/n1/pump",
        "spBv1.0/farm/DDATA/n1",
        "spBv1.0/farm/XDATA/n1",
        "spBv1.0//NDATA/n1",
        "spAv1.0/farm/NDATA/n1",
        "spBv1.0/farm/DDATA/n1/pump/part",
        "farm/n1",
    ],
)
def test_any_other_topic_is_a_dead_letter(host: Host, topic: str) -> None:
    letter = host.hear(topic, payload(dict(TEMPERATURE)))
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.WRONG_SHAPE


def test_bytes_that_are_no_protobuf_are_a_dead_letter(host: Host) -> None:
    letter = host.hear(NDATA, b'{"metrics": []}')
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.NOT_PROTOBUF


def test_a_compressed_payload_is_a_dead_letter(host: Host) -> None:
    letter = host.hear(NDATA, Payload(uuid="SPBV1.0_COMPRESSED", body=b"\x1f\x8b").SerializeToString())
    assert isinstance(letter, DeadLetter)
    assert "compressed" in letter.detail


def test_too_large_and_too_many_are_dead_letters() -> None:
    small = Host(max_bytes=50, max_values=2)
    letter = small.hear(NDATA, payload({"name": "x" * 50, "datatype": STRING, "string_value": ""}))
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.TOO_LARGE
    letter = small.hear(NDATA, payload({}, {}, {}))
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.TOO_MANY_VALUES


def test_decoding_changes_no_state(host: Host) -> None:
    host.hear(NBIRTH, birth(LEVEL))
    before = host.ingest.state("farm/n1")
    for topic, data in ((NBIRTH, birth()), (DBIRTH, payload(dict(TEMPERATURE))), (NDEATH, payload()), (DDEATH, payload())):
        host.ingest.decode(topic, data)
    assert host.ingest.state("farm/n1") == before
    assert host.values(NDATA, payload({"alias": 2, "int_value": 1}, seq=1)) == {"level": 1}
