"""Typed configuration of the update room: where releases come from, and what is asked of a new one."""

from dataclasses import dataclass, field

from edge_agent.quantities import Duration, OptionalNumber, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """What a new release may not exceed beside the incumbent, while it shadows and while it is on probation."""

    max_error_rate: float = 0.02
    """Share of inputs without scores, on top of the incumbent's."""
    max_latency_ratio: float = 2.0
    """Of the incumbent's p95 for one input,"""
    latency_slack: Duration = 0.005
    """or its p95 and this, whichever is more."""
    max_memory_ratio: float = 2.0
    """Of the memory of the incumbent's worker,"""
    memory_slack: Size = 64 * 1024**2
    """or its memory and this, whichever is more."""
    min_confidence_ratio: float = 0.6
    """Of the incumbent's median confidence."""
    max_drift: float = 1.0
    """PSI of its answers against its own baseline, on top of twice the incumbent's or the inputs'. A live stream is one season
    of a baseline of years, so this is far above what counts as drift elsewhere."""
    drift_inputs: int = 100
    """With fewer its drift is not looked at: inputs follow each other, and twenty of them are one piece of weather."""
    min_agreement: float = 0.0
    """Share of answers that agree with the incumbent's. 0: a better model may answer otherwise."""
    max_crashes: int = 0
    """Ends of its worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSettings:
    """A candidate sees live inputs beside the incumbent before it may answer. It ends with the first of the two."""

    inputs: int = 100
    """That both have answered; 0 skips shadowing."""
    time: Duration = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationSettings:
    """After the switch the device watches the new release, and takes it back by itself. It ends when both are reached."""

    inputs: int = 100
    """That it has answered; with `time` 0 too there is no probation."""
    time: Duration = 600.0
    longest: Duration = 86400.0
    """It ends then, however few inputs came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationSettings:
    """How long a configuration from the controller is watched after it was switched to, before it is believed to be good."""

    time: Duration = 600.0
    """The least; it goes on while a pipeline takes events that it has not answered yet,"""
    longest: Duration = 86400.0
    """and ends then: with such a pipeline the configuration is taken back."""
    reach: Duration = 300.0
    """Within this time the fleet broker must be reached, or the configuration is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """A time in which updates may begin. What has begun is finished."""

    cron: str
    """When it opens: minute, hour, day of month, month, day of week."""
    duration: Duration
    zone: str = "UTC"
    """The time zone of the expression, such as `Europe/Rome`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """Where signed releases come from and what is tried."""

    url: str | None = None
    """Base URL of the controller's HTTP server; None: this device takes no updates."""
    token_file: str | None = None
    """A file with the device's HTTP token and nothing else."""
    root_file: str | None = None
    """The first trusted TUF root, from `fleet device add`."""
    ca_file: str | None = None
    max_attempts: int = 5
    retry_min: Duration = 5.0
    retry_max: Duration = 600.0
    refresh_interval: Duration = 21600.0
    """Between two looks at the signed metadata while nothing new is desired, so that revocations and new keys are learned;
    0: only updates look."""
    test_timeout: Duration = 60.0
    fetch_timeout: Duration = 3600.0
    max_bundle_bytes: Size = 512 * 1024**2
    windows: tuple[MaintenanceWindow, ...] = ()
    """None: at any time."""
    fetch_outside_window: bool = False
    """True: releases are fetched at any time, and only trying them and the switch wait for a window."""
    min_battery: OptionalNumber = None
    """Percent; below it and not charging nothing is fetched or tried."""
    max_temperature: OptionalNumber = None
    """Degrees Celsius; above it nothing is tried."""
    metered_interfaces: tuple[str, ...] = ()
    """Network interfaces such as `wwan*`: nothing is fetched while the default route leaves by one of them."""
    keep_free: Size = 64 * 1024**2
    """Of the state disk, beside what a bundle needs: a download never takes the last bytes from agent.db."""
    data_budget: Size | None = None
    """Bytes that updates may fetch in a calendar month (UTC), metadata included. A release that does not fit waits."""
    shadow: ShadowSettings = field(default_factory=ShadowSettings)
    probation: ProbationSettings = field(default_factory=ProbationSettings)
    limits: QualityLimits = field(default_factory=QualityLimits)
    configuration: ConfigurationSettings = field(default_factory=ConfigurationSettings)
