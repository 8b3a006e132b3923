"""The fault matrix as data: what happens to what, how often, and in which world."""

from dataclasses import dataclass, field
from typing import Final

from tests.faults import inflict
from tests.faults.inflict import Inflict
from tests.faults.sensor import STATIONS
from tests.faults.world import Conditions

PROCESSES: Final = ("agent", "worker", "site broker", "fleet broker", "controller")
LINKS: Final = ("site", "fleet")
DAY: Final = 86_400
KILLS: Final = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One cell."""

    name: str
    inflict: Inflict
    times: int = 1
    """How often in one run."""
    conditions: Conditions = field(default_factory=Conditions)


def _process_cases() -> list[Case]:
    cases = []
    for target in PROCESSES:
        lossy = STATIONS if target == "site broker" else 0
        conditions = Conditions(broker_may_lose=KILLS * lossy)
        cases.append(Case(f"{target}: killed", inflict.kill(target), times=KILLS, conditions=conditions))
        cases.append(Case(f"{target}: paused", inflict.pause(target)))
        cases.append(Case(f"{target}: restarted", inflict.restart(target), times=2))
    conditions = Conditions(broker_may_lose=STATIONS)
    return [*cases, Case("site broker: killed with a backlog", inflict.kill_with_backlog, conditions=conditions)]


def _link_cases() -> list[Case]:
    proxied = Conditions(proxied=True)
    cases = []
    for link in LINKS:
        cases.append(Case(f"{link} link: cut", inflict.cut(link), times=2, conditions=proxied))
        cases.append(Case(f"{link} link: half-open", inflict.half_open(link), conditions=proxied))
        cases.append(Case(f"{link} link: slowed", inflict.slowed(link), conditions=proxied))
        cases.append(Case(f"{link} link: reset mid-packet", inflict.reset_mid_packet(link), times=4, conditions=proxied))
    return cases


def _agent_cases() -> list[Case]:
    clock = Conditions(stepped_clock=True)
    return [
        Case("disk: full, then freed", inflict.disk_full, conditions=Conditions(small_disk=True)),
        # With the file goes the record of the model's release: the device has to fetch and test it anew. And where its windows
        # begin, which makes no difference for a step of 1.
        Case("agent.db: damaged", inflict.damage_store, conditions=Conditions(step=1)),
        Case("clock: +1 day", inflict.step_clock(DAY), conditions=clock),
        Case("clock: -1 day", inflict.step_clock(-DAY), conditions=clock),
        Case("clock: 1970", inflict.step_clock(None), conditions=clock),
        Case("outbox full, controller silent", inflict.silent_controller, conditions=Conditions(max_outbox_rows=4_000)),
    ]


def _qos0_cases() -> list[Case]:
    # one pipeline: a window of events of which some are lost holds other events than the log says
    plain = Conditions(pipelines=("echo",), qos=0)
    proxied = Conditions(pipelines=("echo",), qos=0, proxied=True)
    return [
        Case("QoS 0, agent: killed", inflict.kill("agent"), times=KILLS, conditions=plain),
        Case("QoS 0, agent: paused", inflict.pause("agent"), conditions=plain),
        Case("QoS 0, site broker: killed", inflict.kill("site broker"), times=KILLS, conditions=plain),
        Case("QoS 0, site link: cut", inflict.cut("site"), times=2, conditions=proxied),
        Case("QoS 0, controller: killed", inflict.kill("controller"), conditions=plain),
    ]


CASES: Final = (
    Case("nothing", inflict.nothing),
    *_process_cases(),
    *_link_cases(),
    *_agent_cases(),
    *_qos0_cases(),
)


def case_of(seed: int) -> Case:
    """The cell that a seed plays: all of them before any comes again."""
    return CASES[seed % len(CASES)]


def case_named(name: str) -> Case:
    """Raises KeyError."""
    return {case.name: case for case in CASES}[name]
