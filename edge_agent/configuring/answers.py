"""What the validating child says to whoever started it."""

import msgspec

from edge_agent.configuring.record import Record
from edge_agent.settings import AgentSettings
from fleet_contract.reasons import Reason


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What a start begins with. `record` as it was chosen by, which a full disk may not have let be written."""

    settings: AgentSettings
    record: Record


class Problems(msgspec.Struct, frozen=True, kw_only=True):
    """Why a revision is not taken."""

    reason: Reason
    problems: tuple[str, ...]
