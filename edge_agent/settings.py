"""Typed configuration of the daemon: what each part receives, as plain frozen dataclasses.

Reading and checking (TOML, environment, units, unknown keys) is `edge_agent/configuration.py`, which runs in a short-lived
child so that the daemon never imports pydantic. Each part receives its own slice alone.
Durations are seconds and sizes are bytes; configuration may write them with a unit.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from edge_agent.quantities import Duration, OptionalDuration, OptionalNumber, Size, Unit
from edge_agent.update_settings import UpdateSettings
from fleet_contract.messages import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """One MQTT broker and how to sign in there."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password_file: str | None = None
    """A file with the password and nothing else; read at each connect, so it can be replaced while running.
    With it, `username` defaults to the device id (fleet broker) or `{device}-site` (site broker)."""
    tls: bool = False
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    cert_file: str | None = None
    key_file: str | None = None
    keepalive: Duration = 30.0
    session_expiry: Duration = 7 * 86400.0
    """How long the broker keeps the session of a device that is away."""
    receive_maximum: int = 100
    """How many unacknowledged messages the broker may send."""
    window: int = 64
    """How many unacknowledged messages this client holds; never more than the broker's Receive Maximum."""
    backoff_min: Duration = 1.0
    backoff_max: Duration = 120.0
    max_packet_bytes: Size = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """How payloads on a pipeline's source are read."""

    topic: str = ""
    """MQTT topic filter,"""
    pipeline: str | None = None
    """or another pipeline whose results are the events; of the other keys none is needed then."""
    qos: int = 1
    format: str = "json"
    """A payload format: one of `edge_agent/ingest/formats.py`, or of an installed package that adds one."""
    id_path: str | None = "id"
    """Dotted path of the event's own id inside a JSON payload."""
    time_path: str | None = "time"
    """Dotted path of the event time: RFC 3339, or seconds or milliseconds since 1970."""
    device_path: str | None = None
    """Dotted path of the sensor's id inside a JSON payload."""
    device_level: int | None = None
    """Position in the topic (counted from 0) that holds the sensor's id. Without either the topic itself is the device."""
    text_path: str | None = None
    """For format `text`: dotted path of the text inside a JSON payload; without it the payload is the text."""
    values: dict[str, str] = field(default_factory=dict)
    """Reading name to its dotted path; empty means every leaf is a reading named by its path."""
    units: dict[str, str] = field(default_factory=dict)
    """Reading name to its SenML unit."""
    naive_zone: str = "UTC"
    """The zone of times that carry none."""
    max_bytes: Size = 256 * 1024
    max_depth: int = 32
    max_values: int = 10_000
    options: dict[str, Any] = field(default_factory=dict)
    """For a format that an installed package adds: its own settings."""


class WindowKind(StrEnum):
    """How events are gathered."""

    COUNT = "count"
    TUMBLING = "tumbling"
    HOPPING = "hopping"
    SLIDING = "sliding"
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """Which events are scored together, for each sensor of its own."""

    kind: WindowKind = WindowKind.COUNT
    size: Duration = 1
    """Events (kind `count`) or seconds of event time; kind `session` has none."""
    step: Duration | None = None
    """Kinds `count` (default `size`) and `hopping`: events or seconds between the starts of two windows. At most `size`."""
    gap: Duration | None = None
    """Kind `session`: it closes after this many seconds of event time without an event,"""
    max_length: Duration = 86400.0
    """or when it is this many seconds long, so that none is endless."""
    delay: Duration = 0.0
    """Seconds that the watermark stays behind the sensor's newest event time: a window waits for events out of order."""
    lateness: Duration = 0.0
    """Seconds of event time after its closing for which a late event makes a window fire again, as a revision."""
    backlog_after: OptionalDuration = 600.0
    """An event older than the sensor's newest by more seconds than this is backlog. None: only what is called historical is."""
    max_jump: OptionalDuration = 86400.0
    """An event that is ahead of the sensor's newest by more seconds than this waits for the next one to confirm it."""
    max_gap: Duration | None = None
    """Neighbours in a window that are further apart give the quality flag `gap`."""
    clock_skew: OptionalDuration = 300.0
    """An event that is ahead of the wall clock by more seconds than this gets the quality flag `clock_skew`."""
    idle_timeout: OptionalDuration = None
    """Seconds of the wall clock without an event after which a sensor's open windows close."""
    backlog_idle_timeout: OptionalDuration = 60.0
    """The same for the windows of its backlog."""


class Statistic(StrEnum):
    """Which value of a reading stands for a window of several events."""

    LAST = "last"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebounceSettings:
    """The state switches when `n` of the last `of` windows speak for it; more than half, so that they cannot speak for both."""

    n: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """An alarm that is raised when the state goes on and cleared when it goes off."""

    severity: Severity = Severity.WARNING
    text: str | None = None
    """What people read; `{source}`, `{pipeline}`, `{label}` and `{score}` are filled in."""
    update_interval: Duration | None = None
    """Seconds of event time after which an alarm that is still on is told again; None: it is not."""
    escalate_after: Duration | None = None
    """Seconds of event time after which an alarm that is still on takes the severity `escalate_to`."""
    escalate_to: Severity = Severity.CRITICAL


def parse_alarm(value: object) -> object:
    """`alarm = true` is an alarm with every default."""
    return {} if value is True else None if value is False else value


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """From scores or a reading to a state, an alarm, and whether a result is given out.

    What is None of `label`, `threshold` and `hysteresis` is taken from the model's manifest.
    """

    label: str | None = None
    """The model's label whose score the threshold looks at."""
    threshold: float | None = None
    hysteresis: float | None = None
    """The state switches on at the threshold and off below threshold minus hysteresis."""
    reading: str | None = None
    """Without a model: the reading that is decided on."""
    take: Statistic = Statistic.LAST
    """Which value of the reading stands for the window."""
    above: float | None = None
    """Without a model: on at or above this value,"""
    below: float | None = None
    """or at or below this one; off when it is `hysteresis` away from both."""
    debounce: DebounceSettings | None = None
    labels: dict[str, str] = field(default_factory=dict)
    """The model's label to the pipeline's own name for it."""
    top_k: int = 0
    """How many of the best labels a result lists."""
    abstain_below: float | None = None
    """With a best score below this, nothing is said and the state stays."""
    deadband: float | None = None
    """A result is given out only when the score or the reading has moved by more than this, or label or state have changed,"""
    heartbeat: Duration | None = None
    """or this many seconds of event time have passed since the last one."""
    min_interval: Duration | None = None
    """Seconds of event time between two results; a change of the state or of an alarm does not wait."""
    alarm: Annotated[AlarmSettings | None, Unit(parse_alarm)] = None
    quiet_hours: tuple[str, ...] = ()
    """Spans of the day such as `22:00-06:00`, in event time: an alarm is raised at the first window after them."""
    zone: str = "UTC"
    """The zone of the quiet hours."""


class OutputKind(StrEnum):
    """In what form results are published on the site broker."""

    RESULT = "result"
    CLOUDEVENTS = "cloudevents"
    HOMEASSISTANT = "homeassistant"


class EventMode(StrEnum):
    """Where a CloudEvent's attributes stand: in a JSON envelope, or in MQTT user properties."""

    STRUCTURED = "structured"
    BINARY = "binary"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """One way in which a pipeline's results leave on the site broker."""

    kind: OutputKind = OutputKind.RESULT
    topic: str = "smallhold/{device}/{pipeline}/{source}"
    """`{device}`, `{pipeline}` and `{source}` (the sensor) are filled in."""
    retain: bool | None = None
    """Whether the broker keeps the last message of a topic. Default: only for `homeassistant` without `expire_after`."""
    mode: EventMode = EventMode.STRUCTURED
    """Of kind `cloudevents`."""
    discovery_prefix: str = "homeassistant"
    """Of kind `homeassistant`: as in Home Assistant's own settings."""
    expire_after: Duration | None = None
    """Of kind `homeassistant`: seconds without a result after which the entities are unavailable."""
    readings: tuple[str, ...] = ()
    """Of kind `homeassistant`, without a model: the readings that become entities; none means all."""


class JoinMethod(StrEnum):
    """How readings that come in different events are put side by side."""

    LAST = "last"
    RESAMPLE = "resample"


class Aggregate(StrEnum):
    """What stands for the values of one reading in one cell of a grid."""

    LAST = "last"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    SUM = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """Readings of several events side by side, within the window alone."""

    method: JoinMethod = JoinMethod.LAST
    """`last`: each event takes the last known value of the readings that it lacks. `resample`: the window on a regular grid."""
    max_age: Duration | None = None
    """Method `last`: a value that is older by more seconds of event time is not taken."""
    every: Duration | None = None
    """Method `resample`: seconds of event time from one cell to the next."""
    aggregate: Aggregate = Aggregate.LAST
    """Method `resample`: what stands for the values in a cell."""


class QueuePolicy(StrEnum):
    """What becomes of windows that a model does not answer as fast as they come."""

    HOLD = "hold"
    """They wait, and when the journal is full the events stay at the broker."""
    DROP_OLDEST = "drop_oldest"
    SAMPLE = "sample"
    """Of those beyond the bound one in `one_in` of each sensor is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Windows of one pipeline that wait for its model. What is dropped is counted and told of in a note."""

    policy: QueuePolicy = QueuePolicy.HOLD
    max_windows: int | None = None
    """The bound; policy `hold` has none but the journal's."""
    one_in: int = 10
    """Policy `sample`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """Source, window, model, decision, output: a pipeline is a value."""

    name: str
    source: IngestSettings | None = None
    sources: tuple[IngestSettings, ...] = ()
    """More of them: events of one device id are of one sensor, whichever source they come from."""
    window: WindowSettings = field(default_factory=WindowSettings)
    join: JoinSettings | None = None
    model: str | None = None
    """None gives the readings themselves, one result for each window."""
    queue: QueueSettings = field(default_factory=QueueSettings)
    inputs: dict[str, str] = field(default_factory=dict)
    """Model input to the name of the reading; an input that is not listed takes the reading of its own name."""
    decision: DecisionSettings = field(default_factory=DecisionSettings)
    durable: bool = False
    """True: a result leaves the outbox on the controller's acknowledgement; False: on the broker's PUBACK."""
    outputs: tuple[OutputSettings, ...] = ()
    """What is published on the site broker too."""

    @property
    def all_sources(self) -> tuple[IngestSettings, ...]:
        """`source` and `sources` together."""
        return self.sources if self.source is None else (self.source, *self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Bounds of agent.db. What does not fit withholds acknowledgements on the site link."""

    commit_rows: int = 256
    """A group commit starts when this many events wait,"""
    commit_delay: Duration = 0.005
    """or when the oldest has waited this long (seconds)."""
    max_journal_rows: int = 50_000
    max_outbox_rows: int = 1_000_000
    max_outbox_bytes: Size = 512 * 1024**2
    evict_durable: bool = False
    """True: a full outbox drops durable results too and, last of all, notes. False: it refuses, and none of them is lost."""
    max_age: Duration = 7 * 86400.0
    """Plain results and local outputs older than this are dropped. Time when the agent was off does not count; 0 keeps them."""
    max_durable_age: Duration | None = None
    """The same for durable results and notes; None keeps them until the controller has them."""
    max_dead_letters: int = 10_000
    """Messages that could not be read, kept to be looked at and taken in again; the oldest are dropped and counted."""
    max_dead_letter_bytes: Size = 16 * 1024**2
    min_free_bytes: Size = 16 * 1024**2
    """Of the disk, kept free by refusing new rows."""
    drain_rate: float = 1000.0
    """Rows per second of a backlog that are sent on top of new ones; notes are not limited. 0 is no limit."""
    drain_jitter: Duration = 2.0
    """A backlog waits a random part of this after a connect, so that devices that come back together do not send together."""
    remembered_answers: int = 0
    """Newest answers of models that are kept beside their results, so that what was right can be held against them
    on the device; 0: only the controller measures accuracy. A hundred bytes each."""
    ballast_bytes: Size = 8 * 1024**2
    """A file of this size is given up when the disk is full, so that the outbox can drain; 0 is none."""


class OnMissing(StrEnum):
    """What becomes of a model whose required execution provider or delegate is not there."""

    FAIL = "fail"
    DEGRADE = "degrade"
    """The CPU runs it, and results, health and status say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """How one model is run. What is not given is `inference`'s own."""

    threads: int | None = None
    spin: bool | None = None
    """Threads of the runtime that wait by turning: quicker by microseconds, and a whole core while a batch runs."""
    max_batch: int | None = None
    max_delay: Duration | None = None
    """Seconds that an input waits for others to make a batch with; 0 asks at once."""
    deadline: Duration | None = None
    memory_bytes: Size | None = None
    priority: int = 0
    """Where the board cannot serve all, models of a lower number are slowed and paused first."""
    require: tuple[str, ...] = ()
    """ONNX Runtime's execution providers, best first, as in `["tensorrt", "cuda"]`: the first that works; none is the CPU."""
    on_missing: OnMissing = OnMissing.FAIL
    delegates: tuple[str, ...] = ()
    """TensorFlow Lite delegates, best first: `edgetpu`, `gpu`, or the path of a delegate's library."""
    variant: str | None = None
    """The only variant of a release that is taken; None: the device picks what costs least here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """When inputs or answers of a model are told to have drifted from its baseline."""

    psi: float = 0.25
    """Population Stability Index above which a distribution has drifted, if Kolmogorov-Smirnov and chance agree."""
    missing: float = 0.1
    """Share of missing values, on top of the baseline's."""
    out_of_range: float = 0.1
    """Share of values out of range, on top of the baseline's."""
    inputs: int = 500
    """With fewer nothing is said."""
    remembered: int = 2000
    """The figures are of the last one to two times so many inputs: more of them see less, fewer forget sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """Workers."""

    python: dict[str, str] = field(default_factory=dict)
    """Runtime to the Python interpreter that runs its workers; default is the daemon's own."""
    threads: int = 1
    spin: bool = False
    max_batch: int = 64
    max_delay: Duration = 0.0
    deadline: Duration = 10.0
    """Seconds for one batch; behind it the runtime is told to stop, and then the worker is killed."""
    load_timeout: Duration = 60.0
    memory_bytes: Size = 2 * 1024**3
    """Address space of a worker (RLIMIT_AS); 0 is no limit. CUDA reserves far more than it uses, so its models need 0."""
    max_crashes: int = 5
    """Different causes of workers' ends (inputs, loading, idling) that are borne of one release within `crash_window`; one
    more, and the release before takes over. 0 bears any number."""
    crash_window: Duration = 600.0
    max_threads: int | None = None
    """CPU threads that may run batches at once, of all models together; None: as many as there are CPUs."""
    engine_cache: str | None = None
    """A folder for what TensorRT compiles, which takes minutes; None: it compiles at each start."""
    memory_budget: Size | None = None
    """Bytes that all workers together may take; beyond it models are unloaded, those of low priority first."""
    memory_floor: Size = 64 * 1024**2
    """So much memory the device must have available, or models are unloaded likewise; 0 does not look."""
    slow_above: OptionalNumber = 75.0
    """Degrees Celsius of the board above which models are slowed, those of low priority first,"""
    pause_above: OptionalNumber = 82.0
    """and above which they are paused; None does not look."""
    drift: DriftSettings = field(default_factory=DriftSettings)
    models: dict[str, ModelSettings] = field(default_factory=dict)
    """Model name to what is another for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Health reports."""

    interval: Duration = 60.0


class LogLevel(StrEnum):
    """Least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything."""

    device: str
    state_dir: str
    control_socket: str
    log_level: LogLevel = LogLevel.INFO
    log_json: bool | None = None
    """None: JSON unless standard error is a terminal."""
    qos0_buffer: int = 1000
    """How many QoS 0 events wait in memory at most; more are dropped and counted as `qos0_overflow`."""
    mqtt: BrokerSettings
    """The fleet broker: the contract with the controller."""
    site: BrokerSettings
    """The site broker: events in, local outputs. In configuration, what is not given is taken from `mqtt`."""
    store: StoreSettings = field(default_factory=StoreSettings)
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    updates: UpdateSettings = field(default_factory=UpdateSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    pipelines: tuple[PipelineSettings, ...] = ()
