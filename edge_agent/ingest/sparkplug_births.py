"""What a Sparkplug node and its devices have said at birth, and the rules by which births, deaths and `seq` change it.

Everything here is a value: a rule returns a new node and leaves the old one as it is.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

MAX_DEVICES: Final = 1000
"""Births of devices that are kept for one node,"""
MAX_METRICS: Final = 20_000
"""the metrics in all of them,"""
MAX_NAMES: Final = 2 * 1024**2
"""and the characters of their names. What is beyond is not kept: its aliases stay unknown."""
SEQUENCE: Final = 256

_VERSION: Final = 1


class Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a birth says about one metric."""

    name: str
    """Its whole name; for a member of a template with the metric's name and a dot before it."""
    datatype: int
    unit: str | None = None
    """The engineering unit as it is written."""
    alias: int | None = None


class Birth(msgspec.Struct, frozen=True):
    """The metrics of one birth certificate."""

    by_alias: dict[int, Known]
    by_name: dict[str, Known]
    size: int
    """Characters of all names and units."""


class Node(msgspec.Struct, frozen=True):
    """The state of one stream: a node with its devices."""

    births: dict[str, Birth]
    """Device, or "" for the node itself, to its last birth; the newest is last."""
    aliases: dict[int, Known]
    """Those of all births."""
    bd_seq: int | None = None
    """Of the node's last birth."""
    seq: int | None = None
    """Of the last message; None where any may follow."""

    @property
    def born(self) -> bool:
        """Whether the node has said what it is, and has not died since."""
        return "" in self.births


NOBODY: Final = Node({}, {})


class _StoredNode(msgspec.Struct, array_like=True):
    version: int
    bd_seq: int | None
    births: dict[str, list[Known]]


def make_birth(metrics: Iterable[Known]) -> Birth:
    """A birth of these metrics; of two with one name or alias the later one counts."""
    by_name = {known.name: known for known in metrics}
    by_alias = {known.alias: known for known in by_name.values() if known.alias is not None}
    return Birth(by_alias, by_name, sum(len(known.name) + len(known.unit or "") for known in by_name.values()))


def after_birth(node: Node, device: str, birth: Birth, bd_seq: int | None, seq: int | None) -> Node:
    """A node's own birth ends what was known of it and its devices; a device's birth replaces that device's last one."""
    if not device:
        return _make_node({"": birth}, bd_seq, seq)
    others = {name: other for name, other in node.births.items() if name != device}
    return _make_node({**others, device: birth}, node.bd_seq, seq)


def after_death(node: Node, bd_seq: int | None) -> Node | None:
    """The node after a last will that names `bd_seq`; None: it is of an older session, and nothing has changed."""
    if None not in (bd_seq, node.bd_seq) and bd_seq != node.bd_seq:
        return None
    return Node({}, {}, node.bd_seq)


def after_device_death(node: Node, device: str, seq: int | None) -> Node:
    """The node without one device."""
    return _make_node({name: birth for name, birth in node.births.items() if name != device}, node.bd_seq, seq)


def after_data(node: Node, seq: int | None) -> Node:
    """The node after a message that only counts up."""
    return Node(node.births, node.aliases, node.bd_seq, seq)


def has_gap(node: Node, seq: int | None) -> bool:
    """Whether messages are missing between the last one and this one. A node's own birth may start anywhere."""
    return seq is not None and node.seq is not None and seq != (node.seq + 1) % SEQUENCE


def find_alias(node: Node, device: str, alias: int) -> Known | None:
    """What an alias means: it is unique over a node and its devices. Where a sender breaks that, the device's own counts."""
    birth = node.births.get(device)
    known = None if birth is None else birth.by_alias.get(alias)
    return node.aliases.get(alias) if known is None else known


def find_name(node: Node, device: str, name: str) -> Known | None:
    """What is known of a metric that comes under its name."""
    birth = node.births.get(device)
    return None if birth is None else birth.by_name.get(name)


def dump(node: Node) -> bytes:
    """The births. The running `seq` is left out: after a restart any may come first."""
    births = {device: list(birth.by_name.values()) for device, birth in node.births.items()}
    return msgspec.msgpack.encode(_StoredNode(_VERSION, node.bd_seq, births))


def load(stored: bytes) -> Node:
    """The inverse of `dump`; raises ValueError."""
    read = msgspec.msgpack.decode(stored, type=_StoredNode)
    if read.version != _VERSION:
        raise ValueError(f"births in form {read.version}, known is {_VERSION}")
    return _make_node({device: make_birth(metrics) for device, metrics in read.births.items()}, read.bd_seq, None)


def _make_node(births: dict[str, Birth], bd_seq: int | None, seq: int | None) -> Node:
    """A node with these births; the newest is left out if it is one too many."""
    kept = births.values()
    fits = len(births) <= MAX_DEVICES + 1 and sum(birth.size for birth in kept) <= MAX_NAMES
    if not fits or sum(len(birth.by_name) for birth in kept) > MAX_METRICS:
        births = dict(list(births.items())[:-1])
    aliases: dict[int, Known] = {}
    for birth in births.values():
        aliases |= birth.by_alias
    return Node(births, aliases, bd_seq, seq)
