"""Every message of the contract, typed once. JSON Schema is generated from these types into `docs/schemas/`.

Encoding is JSON in UTF-8. Times are RFC 3339 in UTC. A receiver ignores fields that it does not know, so fields may be added
with a default; nothing is ever renamed or given a new meaning.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from fleet_contract.configuration import ConfigurationReport, DesiredConfiguration
from fleet_contract.drift import ModelDrift
from fleet_contract.trust_report import TrustReport
from fleet_contract.update_report import UpdateReport, UpdateState


class Message(Struct, frozen=True):
    """The base of all messages and of the records inside them."""


class LinkState(StrEnum):
    """Whether a device has a session on the fleet broker."""

    ONLINE = "online"
    OFFLINE = "offline"


class Hardware(Message, frozen=True, kw_only=True):
    """What the device is, for choosing variants and for people."""

    machine: str
    """As `uname -m`: `aarch64`, `x86_64`."""
    board: str | None = None
    """The device tree's model, such as `Raspberry Pi 4 Model B Rev 1.4`, where there is one."""
    cpus: int
    memory_bytes: int


class Birth(Message, frozen=True, kw_only=True):
    """Online or offline. Published retained at every connect; the last will is the same with `state` offline.

    Slots are ordered by (`stream`, `counter`): within one stream the higher counter is the newer value.
    """

    state: LinkState
    stream: str
    counter: int
    boot_id: str
    contract_low: int
    contract_high: int
    agent_version: str
    python_version: str
    operating_system: str
    hardware: Hardware
    time: str


class ModelState(Message, frozen=True, kw_only=True):
    """A model that answers on the device now. This is the device's attestation of what runs."""

    model: str
    release: int
    version: str
    digest: str
    """`sha256:` and the hash of the bundle, computed over the bytes that were unpacked and loaded."""
    provider: str
    """The execution provider that really ran, as the runtime reports it."""
    degraded: str | None = None
    """Why the CPU runs it although something else is required; None where nothing is missing."""
    since: str
    variant: str | None = None
    """Which of the release's variants; null where it has only one."""


class Reported(Message, frozen=True, kw_only=True):
    """What runs. Published retained on every change and at every connect."""

    stream: str
    counter: int
    boot_id: str
    revision: int
    """The revision of the last desired state that this device has taken in; 0 before the first."""
    models: tuple[ModelState, ...] = ()
    updates: tuple[UpdateReport, ...] = ()
    feedback: int = 0
    """The number of the last feedback message that this device has taken in; 0 before the first."""
    configuration: ConfigurationReport | None = None
    """Null while the device has always run with its own file alone."""
    trust: TrustReport | None = None
    """Null where the device takes no updates."""
    holds: tuple[str, ...] = ()
    """Models whose updates an operator holds, `*` for all."""
    time: str


# ---- device to controller: streams ----------------------------------------------------------------------------------


class ModelHealth(Message, frozen=True, kw_only=True):
    """One model's work since the last health message, and its worker's memory now."""

    model: str
    release: int
    inferences: int
    errors: int
    restarts: int
    queue: int
    """Windows that wait for this model."""
    p50_ms: float | None = None
    """Latency of an event: from its arrival on the link to its result's commit; null when there was none."""
    p95_ms: float | None = None
    p99_ms: float | None = None
    memory_bytes: int | None = None
    """Proportional set size of the worker process."""
    mode: str | None = None
    """`run`, `slow`, `pause` or `unload`: what heat and memory let it do; null where the agent does not say."""
    mode_detail: str | None = None
    """Why it may not simply run."""
    labelled: int | None = None
    """Of the results of this release that the device remembers, those of which it is known what was right; null where
    feedback is off."""
    right: int | None = None
    """Of those with a label, how many had it."""
    mean_error: float | None = None
    """For a model without labels: mean absolute difference to what was right."""
    drift: ModelDrift | None = None
    """How far its inputs and answers have moved from its baseline; null where nothing is counted."""


class Health(Message, frozen=True, kw_only=True):
    """Periodic health. Not kept in the outbox: the next one replaces it."""

    time: str
    boot_id: str
    interval_s: float
    uptime_s: float
    cpu_percent: float
    """Of the whole device, all cores together, 0 to 100."""
    memory_percent: float
    daemon_memory_bytes: int
    """Proportional set size of the daemon."""
    temperature_celsius: float | None = None
    disk_free_bytes: int
    outbox_rows: int
    outbox_bytes: int
    journal_rows: int
    results_per_minute: float
    links: dict[str, bool]
    """Link name (`site`, `fleet`) to whether it is connected."""
    counters: dict[str, int] = {}
    """Totals since the agent started; their names are listed in `docs/protocol.md`."""
    models: tuple[ModelHealth, ...] = ()
    clock_behind_s: float | None = None
    """By how much the clock is before the last time that this device has seen; null while it is believed."""
    store_fault: str | None = None
    """Reason code while the state disk takes no writes, such as `disk_read_only`: a note could not be kept then."""
    update_bytes: int | None = None
    """What updates have fetched in this calendar month (UTC); null where the device does not say."""
    update_budget_bytes: int | None = None
    """What they may; null without a budget."""
    written_bytes: int | None = None
    """What the daemon has written to storage since it started, as the kernel counts it; null where it does not tell."""
    written_bytes_per_event: float | None = None
    """Of the interval; null when no event came."""


class NoteKind(StrEnum):
    """What a note tells."""

    UPDATE = "update"
    DEAD_LETTER = "dead_letter"
    WORKER = "worker"
    STORE = "store"
    AGENT = "agent"
    DRIFT = "drift"
    CONFIGURATION = "configuration"


class Note(Message, frozen=True, kw_only=True):
    """Something that must not be lost. Leaves the device's outbox on the controller's acknowledgement alone."""

    stream: str = ""
    seq: int = 0
    time: str
    kind: NoteKind
    reason: str | None = None
    detail: str
    model: str | None = None
    release: int | None = None
    state: UpdateState | None = None
    fields: dict[str, Any] = {}


class ModelRef(Message, frozen=True, kw_only=True):
    """Which model gave a result, down to the bytes and the execution provider that ran them."""

    name: str
    version: str
    release: int
    digest: str
    provider: str


class WindowRef(Message, frozen=True, kw_only=True):
    """The window that a result was computed from."""

    kind: str
    """`count`, `tumbling`, `hopping`, `sliding` or `session`."""
    start: str | None
    """Event time of the bounds; null where the events carry none."""
    end: str | None
    count: int


class EventsRef(Message, frozen=True, kw_only=True):
    """The events in a window: their ids, or when there are many the first, the last and a digest over all."""

    count: int
    ids: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    digest: str | None = None


class Severity(StrEnum):
    """How bad an alarm is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlarmState(StrEnum):
    """Where in an alarm's life a result stands."""

    RAISED = "raised"
    ACTIVE = "active"
    """On as before: nothing to tell anybody."""
    UPDATED = "updated"
    """On as before, told again: an interval has passed, or the severity has risen."""
    CLEARED = "cleared"


class Alarm(Message, frozen=True, kw_only=True):
    """An alarm of one pipeline and sensor, as each result carries it from the one that raises it to the one that clears it."""

    id: str
    """Derived from pipeline, sensor and the raising result's id, so a repeat keeps it."""
    state: AlarmState
    since: str | None
    """Event time of the result that raised it; null where the events carry none."""
    severity: Severity
    text: str | None = None


class LabelScore(Message, frozen=True, kw_only=True):
    """One label and its score."""

    label: str
    score: float


class Outcome(Message, frozen=True, kw_only=True):
    """What the model said and what the pipeline made of it."""

    label: str | None = None
    """The best one, under the pipeline's own name for it; null for a model without labels, and where the pipeline abstains."""
    score: float | None = None
    """The score, or the reading's value, that the decision looked at; null where it looked at none."""
    scores: dict[str, float] = {}
    """By the model's own labels."""
    top: tuple[LabelScore, ...] = ()
    """The best labels under the pipeline's names, best first, where it asks for them."""
    abstained: bool = False
    """Too little confidence, or no reading to decide on: the state and an alarm stay as they were."""
    state: str | None = None
    """`on` or `off` where the pipeline has a threshold."""
    changed: bool = False
    """Whether this result switched the state."""
    alarm: Alarm | None = None
    """While an alarm is on, and on the result that clears it."""
    values: dict[str, Any] = {}
    """The readings themselves, for a pipeline without a model."""


class Result(Message, frozen=True, kw_only=True):
    """One answer with its provenance. `result_id` is derived from pipeline, source and events, so a repeat keeps it."""

    stream: str = ""
    seq: int = 0
    """0 on a result that is not durable: it is published once and leaves on the broker's PUBACK."""
    result_id: str
    pipeline: str
    source: str
    """The sensor whose events these are."""
    time: str | None
    """Event time of the last event in the window."""
    outcome: Outcome
    model: ModelRef | None = None
    window: WindowRef
    events: EventsRef
    quality: tuple[str, ...] = ()
    revision: int = 0
    """Grows when a late event makes the same window fire again. The result with the highest one holds."""
    timeliness: str = "live"
    """`backlog` for events from before an outage that is over: their result is late news."""


class ReplyStatus(StrEnum):
    """How a command ended."""

    OK = "ok"
    ERROR = "error"


class Reply(Message, frozen=True, kw_only=True):
    """The answer to a command, under the command's correlation id."""

    correlation: str
    command: str
    status: ReplyStatus
    reason: str | None = None
    detail: str | None = None
    result: dict[str, Any] = {}
    time: str


class Log(Message, frozen=True, kw_only=True):
    """Log lines, sent on request."""

    correlation: str
    part: int
    last: bool
    lines: tuple[str, ...]


# ---- controller to device -------------------------------------------------------------------------------------------


class DesiredModel(Message, frozen=True, kw_only=True):
    """One model that should run on the device: a reference, never content."""

    model: str
    release: int
    rollout: str | None = None
    shadow: bool = True
    """False: the release is switched to without shadowing before."""


class Desired(Message, frozen=True, kw_only=True):
    """The desired state. Retained; the revision only grows, and a device ignores a lower one than it has seen."""

    revision: int
    models: tuple[DesiredModel, ...] = ()
    configuration: DesiredConfiguration | None = None
    """Null: the device's own file alone."""
    contract: int = 1
    """The lowest contract version that the sender still speaks. A device that knows only lower ones says that it is too old."""


class Command(Message, frozen=True, kw_only=True):
    """One command. Its Correlation Data and Response Topic travel as MQTT 5 properties, and here for the record."""

    correlation: str
    name: str
    arguments: dict[str, Any] = {}
    expires: str
    """After this time (RFC 3339) the device refuses to execute it."""


class Ack(Message, frozen=True, kw_only=True):
    """Which notes and durable results are committed in the controller's database: inclusive ranges, never cumulative."""

    stream: str
    ranges: tuple[tuple[int, int], ...]


MESSAGES: Final[tuple[type[Message], ...]] = (
    Birth,
    Reported,
    Health,
    Note,
    Result,
    Reply,
    Log,
    Desired,
    Command,
    Ack,
)
"""Every top-level message, in the order of the protocol document."""

_encoder = msgspec.json.Encoder()
_M = TypeVar("_M", bound=Message)


class MessageError(ValueError):
    """A payload is not the message that its topic promises; the text names the field."""


def encode(message: Message) -> bytes:
    """The message as JSON."""
    return _encoder.encode(message)


def decode(payload: bytes, kind: type[_M]) -> _M:
    """Decode a payload; raises MessageError naming the field that is wrong."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"not a {kind.__name__} message: {error}") from error


def to_ranges(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Fold sequence numbers, in any order and with repeats, into inclusive ranges for an acknowledgement."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] + 1 == number:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)
