"""Format `sparkplug`: Sparkplug B 3.0, whose data can only be read with the births that came before it."""

from hashlib import blake2b
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from edge_agent.ingest import sparkplug_births as births
from edge_agent.ingest.envelope import topic_device
from edge_agent.ingest.events import DeadLetter, Decoded, Request
from edge_agent.ingest.instant import format_millis
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.sparkplug_births import NOBODY, Node
from edge_agent.ingest.sparkplug_metrics import Meanings, Metrics, TooMuch, read_bd_seq
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.ingest.sparkplug_values import BOOLEAN
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

NAMESPACE: Final = "spBv1.0"
_OF_NODES: Final = frozenset(("NBIRTH", "NDATA", "NDEATH", "NCMD"))
_OF_DEVICES: Final = frozenset(("DBIRTH", "DDATA", "DDEATH", "DCMD"))
_COMMANDS: Final = frozenset(("NCMD", "DCMD"))
_DEATHS: Final = frozenset(("NDEATH", "DDEATH"))
_BIRTHS: Final = frozenset(("NBIRTH", "DBIRTH"))
_COMPRESSED: Final = "SPBV1.0_COMPRESSED"


class Place(NamedTuple):
    """What a topic says."""

    kind: str
    stream: str
    """Group and node."""
    device: str
    """Empty for the node itself."""


def read_topic(topic: str) -> Place | None:
    """The place of a message; None if the topic is not one of a node or device."""
    levels = topic.split("/")
    if not 4 <= len(levels) <= 5 or levels[0] != NAMESPACE or not all(levels):
        return None
    if levels[2] not in (_OF_NODES if len(levels) == 4 else _OF_DEVICES):
        return None
    return Place(levels[2], f"{levels[1]}/{levels[3]}", levels[4] if len(levels) == 5 else "")


class SparkplugFormat:
    """The decoder of one source. The state of a stream is a `Node`: births and the running `seq` of a node and its devices."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._meanings = Meanings(settings.units)

    def stream_of(self, topic: str) -> str | None:
        """`{group}/{node}`, for births, data and deaths."""
        place = read_topic(topic)
        return None if place is None or place.kind in _COMMANDS else place.stream

    def dump(self, state: Node) -> bytes:
        """The births."""
        return births.dump(state)

    def load(self, stored: bytes) -> Node:
        """The births; raises ValueError for another form."""
        return births.load(stored)

    def decode(self, message: Message, state: Node | None = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """The readings of births and data. Commands, deaths and the states of host applications give none."""
        topic, payload = message.topic, message.payload
        place = read_topic(topic)
        if place is None:
            if _is_host_state(topic):
                explain("", "the state of a host application")
                return Decoded(())
            return DeadLetter(Reason.WRONG_SHAPE, f"{topic[:200]!r} is no topic of Sparkplug B")
        if place.kind in _COMMANDS:
            explain("", "a command")
            return Decoded(())
        if len(payload) > self._settings.max_bytes:
            return DeadLetter(Reason.TOO_LARGE, f"{len(payload)} bytes, allowed are {self._settings.max_bytes}")
        try:
            read = Payload.FromString(payload)
        except DecodeError as error:
            reason = Reason.TOO_DEEP if "depth" in str(error).lower() else Reason.NOT_PROTOBUF
            return DeadLetter(reason, str(error))
        if read.uuid == _COMPRESSED:
            return DeadLetter(Reason.WRONG_SHAPE, "compressed payloads are not read")
        node = NOBODY if state is None else state
        if place.kind in _DEATHS:
            explain("", "a death")
        if place.kind == "NDEATH":
            after = births.after_death(node, read_bd_seq(read.metrics))
            return Decoded((), state=after, stored=after is not None)
        return self._read(place, read, message, node, explain)

    def _read(self, place: Place, read: Any, message: Message, node: Node, explain: Explain) -> Decoded | DeadLetter:
        kind, stream, device = place
        topic, payload, _, retain = message
        stamp = read.timestamp
        seq = read.seq if read.HasField("seq") else None
        if kind == "DDEATH":
            after = births.after_device_death(node, device, seq)
            return Decoded((), _own_id(stamp, seq, payload), format_millis(stamp) if stamp else None, after, True)
        born = kind in _BIRTHS
        source = f"{stream}/{device}" if device else stream
        if self._settings.device_level is not None:
            source = topic_device(self._settings, topic)
        metrics = Metrics(self._settings, self._meanings, node, device, source, stamp, retain, explain)
        try:
            events = metrics.read(read.metrics, born=born)
        except TooMuch as error:
            return DeadLetter(error.reason, str(error))
        if born:
            bd_seq = None if device else read_bd_seq(read.metrics)
            after = births.after_birth(node, device, births.make_birth(metrics.known), bd_seq, seq)
        else:
            after = births.after_data(node, seq)
        requests: tuple[Request, ...] = ()
        if kind != "NBIRTH" and (metrics.unknown or not node.born or births.has_gap(node, seq)):
            requests = (_ask_for_birth(stream, stamp),)
        if metrics.unknown and not events:
            return DeadLetter(Reason.UNKNOWN_ALIAS, metrics.first_unknown, requests)
        return Decoded(events, _own_id(stamp, seq, payload), metrics.time, after, born, requests)


def _own_id(stamp: int, seq: int | None, payload: bytes) -> str | None:
    """The message's time, its `seq`, which comes again after 256 messages, and its content, as not every node's clock runs."""
    if seq is None or not stamp:
        return None
    return f"{stamp}-{seq}-{blake2b(payload, digest_size=4).hexdigest()}"


def _is_host_state(topic: str) -> bool:
    """`STATE/{host}` of version 2.2, `spBv1.0/STATE/{host}` of 3.0."""
    levels = topic.removeprefix(f"{NAMESPACE}/").split("/")
    return len(levels) == 2 and levels[0] == "STATE"


def _ask_for_birth(stream: str, stamp: int) -> Request:
    """The command that makes a node send all its births again.

    Its timestamp is the one of the message that calls for it: a decoder has no clock, and a node acts on the command alone.
    """
    group, _, node = stream.partition("/")
    command = Payload(timestamp=stamp)
    command.metrics.add(name="Node Control/Rebirth", timestamp=stamp, datatype=BOOLEAN, boolean_value=True)
    return Request(f"{NAMESPACE}/{group}/NCMD/{node}", command.SerializeToString(deterministic=True))
