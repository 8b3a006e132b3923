"""What is remembered about configuration across restarts, as values; `folder.py` keeps it, `policy.py` judges it."""

import msgspec
from msgspec import Struct

from fleet_contract.configuration import ConfigurationReport, ConfigurationState


class Layer(Struct, frozen=True, kw_only=True):
    """A verified revision whose file is on this device. None in its place is the device's own file alone."""

    name: str
    revision: int
    digest: str
    """`sha256:` and the hash of its bytes."""


class Flow(Struct, frozen=True, kw_only=True):
    """What one pipeline did in a span of time."""

    events: int = 0
    answers: int = 0
    """Windows that were answered, whether their result was given out or not."""
    seconds: float = 0.0
    comparable: bool = True
    """Whether windows are gathered as before: otherwise more events may be needed for an answer."""


class Record(Struct, kw_only=True):
    """The newest change, and what the agent starts with."""

    state: ConfigurationState = ConfigurationState.COMMITTED
    name: str = ""
    revision: int = 0
    """What the newest change brings; 0 with an empty name is the device's own file alone."""
    since: str = ""
    reason: str | None = None
    detail: str | None = None
    attempts: int = 0
    current: Layer | None = None
    """What a start uses."""
    previous: Layer | None = None
    """What has proven itself before; gone back to."""
    unproven: bool = False
    """Whether `current` has still to prove that the agent lives with it."""
    starts: int = 0
    """Since `current` is the current one, while it is unproven."""
    restart: tuple[str, ...] = ()
    """Keys whose new value waits for a start."""
    before: dict[str, Flow] = msgspec.field(default_factory=dict)
    """What the pipelines did before the switch, by their names."""
    watched: float = 0.0
    """Seconds of probation before the last stop."""
    reached: bool = False
    """Whether the fleet broker was reached since the switch."""
    untold: bool = False
    """A start has changed the state, and no note says so yet."""

    @property
    def target(self) -> tuple[str, int]:
        """Name and revision of what is or was wanted."""
        return self.name, self.revision

    def report(self, running: Layer | None) -> ConfigurationReport | None:
        """As it stands in reported state; None while there never was a configuration but the device's own file."""
        if not self.since:
            return None
        return ConfigurationReport(
            name=self.name,
            revision=self.revision,
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            since=self.since,
            attempts=self.attempts,
            running_name="" if running is None else running.name,
            running_revision=0 if running is None else running.revision,
            running_digest="" if running is None else running.digest,
            restart=self.restart,
        )
