"""The device's last-value slots: birth with its last will, and reported.

Slots are ordered by (stream, counter). The counter's high part counts the agent's starts and is durable before the first
connect; the low part counts connects (birth) or publishes (reported). A last will has its birth's counter plus one, so the
next birth is newer than it.
"""

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from edge_agent import __version__
from edge_agent.health.probes import read_boot_id, read_hardware, read_operating_system
from edge_agent.link.port import Will
from fleet_contract.configuration import ConfigurationReport
from fleet_contract.messages import Birth, LinkState, ModelState, Reported, encode
from fleet_contract.topics import Up, up
from fleet_contract.trust_report import TrustReport
from fleet_contract.update_report import UpdateReport
from fleet_contract.version import CONTRACT_HIGH, CONTRACT_LOW

STARTS_KEY: Final = "slots.starts"
START_SHIFT: Final = 32


class Slots:
    """Makes the slots' messages. `will` is called on the link's thread, everything else on the loop's."""

    def __init__(
        self,
        device: str,
        stream: str,
        starts: int,
        *,
        revision: Callable[[], int],
        models: Callable[[], tuple[ModelState, ...]],
        updates: Callable[[], tuple[UpdateReport, ...]],
        feedback: Callable[[], int],
        holds: Callable[[], tuple[str, ...]],
        trust: Callable[[], TrustReport | None],
        configuration: Callable[[], ConfigurationReport | None] = lambda: None,
    ) -> None:
        self._device = device
        self._stream = stream
        self._base = starts << START_SHIFT
        self._connects = 0
        self._publishes = 0
        self._revision = revision
        self._models = models
        self._updates = updates
        self._feedback = feedback
        self._configuration = configuration
        self._holds = holds
        self._trust = trust
        self._boot_id = read_boot_id()
        self._hardware = read_hardware()
        self._operating_system = read_operating_system()
        self.leaving = False
        """Set when the agent stops in order: the next birth says offline."""

    def birth(self) -> Birth:
        """Online, or offline once `leaving`."""
        state = LinkState.OFFLINE if self.leaving else LinkState.ONLINE
        return self._birth(state, self._base + self._connects + self.leaving)

    def will(self) -> Will:
        """What the broker says for us if this connection breaks; called before each attempt to connect."""
        self._connects += 2
        payload = encode(self._birth(LinkState.OFFLINE, self._base + self._connects + 1))
        return Will(up(self._device, Up.BIRTH), payload)

    def reported(self) -> Reported:
        """What runs now."""
        self._publishes += 1
        return Reported(
            stream=self._stream,
            counter=self._base + self._publishes,
            boot_id=self._boot_id,
            revision=self._revision(),
            models=self._models(),
            updates=self._updates(),
            feedback=self._feedback(),
            configuration=self._configuration(),
            holds=self._holds(),
            trust=self._trust(),
            time=_now(),
        )

    def _birth(self, state: LinkState, counter: int) -> Birth:
        return Birth(
            state=state,
            stream=self._stream,
            counter=counter,
            boot_id=self._boot_id,
            contract_low=CONTRACT_LOW,
            contract_high=CONTRACT_HIGH,
            agent_version=__version__,
            python_version=platform.python_version(),
            operating_system=self._operating_system,
            hardware=self._hardware,
            time=_now(),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
