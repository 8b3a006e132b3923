"""What the daemon and the trust child say to each other: one job on standard input, JSON lines on standard output."""

import msgspec
from msgspec import Struct

from edge_agent.updates.picking import Configured
from fleet_contract.configuration import DesiredConfiguration
from fleet_contract.reasons import Reason


class Base(Struct, frozen=True, kw_only=True):
    """A bundle on this device that a delta may start from; it is only read."""

    path: str
    digest: str


class Job(Struct, frozen=True, kw_only=True):
    """One release, or one revision of a configuration, to fetch and verify; or the metadata alone to bring up to date.

    It carries the token, so it travels on standard input and is never logged.
    """

    metadata_url: str
    targets_url: str
    metadata_dir: str
    download_dir: str
    root_file: str
    """The first trusted root: the only thing that is believed without a signature."""
    token: str
    ca_file: str | None = None
    model: str = ""
    """Empty, and no configuration either: only the metadata is refreshed."""
    release: int = 0
    configuration: DesiredConfiguration | None = None
    """In place of a release: a revision of a configuration to fetch and verify."""
    timestamp_floor: int = 0
    timestamp_keys: str = ""
    """Whose timestamps the floor was seen in; under other keys it does not count; empty: under all."""
    release_floor: int = 0
    reference_time: float
    """Seconds since 1970: the clock, or the last time seen if that is later."""
    max_bytes: int
    timeout: float = 30.0
    """Seconds without a byte, and for connecting; and the window in which a body's pace is judged."""
    budget: int | None = None
    """Bytes that may be received; None is no limit."""
    keep_free: int = 0
    """Bytes of the disk that are left to others."""
    deltas_url: str = ""
    base: Base | None = None
    """None: the whole file is fetched."""
    have: str | None = None
    """Digest of a bundle of this release that is unpacked already: then only the metadata is checked."""
    device: Configured = Configured()
    """What the choice among a release's variants depends on."""


class Line(Struct, frozen=True, tag_field="line", kw_only=True):
    """The base of what the child says."""


class MetadataValid(Line, frozen=True, tag="metadata"):
    """The signed metadata is valid and current; the daemon raises its floors to this."""

    timestamp_version: int
    timestamp_keys: str
    """The ids of the keys that root names for the timestamp, joined."""
    release_floor: int
    """Of the job's model; 0 where the job names none."""
    reference_time: float
    floors: dict[str, int] = {}
    """Model to floor, of every model that the metadata names."""
    expires: float = 0.0
    """Seconds since 1970: when the first of the documents expires."""


class Verified(Line, frozen=True, tag="verified"):
    """The signed facts about the release."""

    version: str
    digest: str
    length: int
    variant: str | None = None
    why: str = ""
    """Why this variant."""
    rejected: dict[str, str] = msgspec.field(default_factory=dict)
    """Every other one, to why not."""


class WholeInstead(Line, frozen=True, tag="whole"):
    """There is no way by a delta, so the whole file is fetched. `offered`: there was one, but it was of no use."""

    detail: str
    offered: bool


class Progress(Line, frozen=True, tag="progress"):
    """Bytes of the bundle so far, or of the delta to it."""

    fetched: int
    total: int
    received: int = 0
    """What this child has taken from the network so far, metadata and what was of no use included."""
    delta: bool = False


class Fetched(Line, frozen=True, tag="fetched"):
    """All bytes are there; now they are checked."""


class Done(Line, frozen=True, tag="done"):
    """The bundle is the signed one and sound. `path` is none where the job's `have` was the signed bundle.

    Of a job without a model only `received` says anything.
    """

    path: str | None = None
    digest: str = ""
    version: str = ""
    received: int = 0
    """All that this child has taken from the network, in bytes."""


class Failed(Line, frozen=True, tag="error"):
    """The child gives up. `temporary`: another attempt may work."""

    reason: Reason
    detail: str
    temporary: bool
    retry_after: float | None = None
    """Seconds that the server asks to wait."""
    received: int = 0
    """All that this child has taken from the network, in bytes."""
    needed: int = 0
    """Reason `data_budget`: bytes that would have to be received, where that is known."""


Message = MetadataValid | Verified | WholeInstead | Progress | Fetched | Done | Failed

_job_decoder = msgspec.json.Decoder(Job)
_line_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
encode = msgspec.json.Encoder().encode


def decode_job(data: bytes) -> Job:
    """Raises msgspec.DecodeError."""
    return _job_decoder.decode(data)


def decode_line(data: bytes) -> Message:
    """Raises msgspec.DecodeError."""
    return _line_decoder.decode(data)
