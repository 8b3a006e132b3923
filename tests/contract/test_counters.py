"""The counters that the agent publishes are those that the protocol document explains."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.agent import Agent
from edge_agent.configuring.record import Record
from edge_agent.settings import AgentSettings, BrokerSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def explained() -> set[str]:
    """Names in the section's three tables, with the prefixes of the second and third."""
    section = (ROOT / "docs" / "protocol.md").read_text().partition("\n## Counters\n")[2].partition("\n## ")[0]
    plain, links, outbox = (re.findall(r"(?m)^\| (.+?) \|", table) for table in re.split(r"(?m)^\|---\|---\|$", section)[1:])

    def names(cells: list[str]) -> set[str]:
        return {name for cell in cells if cell != "counter" for name in re.findall(r"`([a-zA-Z0-9_]+)`", cell)}

    return (
        names(plain)
        | {f"{link}_{name}" for link in ("site_link", "fleet_link") for name in names(links)}
        | {f"outbox_{name}" for name in names(outbox)}
    )


def test_every_counter_of_a_fresh_agent_is_explained(tmp_path: Path, explained: set[str], free_port: Callable[[], int]) -> None:
    broker = BrokerSettings(port=free_port())
    settings = AgentSettings(
        device="counting",
        state_dir=str(tmp_path),
        control_socket=str(tmp_path / "control.sock"),
        mqtt=broker,
        site=broker,
    )
    root = logging.getLogger()
    before = root.handlers[:], root.level
    agent = Agent(settings, tmp_path / "agent.toml", Record())  # it sets the process's logging up, which is undone below
    try:
        counters = set(agent.counters())
    finally:
        agent.fleet_sender.close()
        agent.site_sender.close()
        agent.store.close()
        agent.loop.close()
        root.handlers[:], root.level = before
        logging.captureWarnings(False)
    assert len(counters) > 30
    assert sorted(counters - explained) == []


def test_every_counter_that_the_code_makes_on_demand_is_explained(explained: set[str]) -> None:
    made = set()
    for file in ("engine.py", "giving.py", "refusing.py", "committing.py", "uplink.py", "outputs/outputs.py"):
        made |= set(re.findall(r'self\._?counters\[f?"([a-z0-9_]+)', (ROOT / "edge_agent" / file).read_text()))
    assert {"events", "results", "dead_", "bad_messages"} <= made
    assert sorted(name for name in made if name not in explained and name != "dead_") == []


def test_nothing_is_explained_that_is_not_there(explained: set[str]) -> None:
    source = "".join(path.read_text() for path in (ROOT / "edge_agent").rglob("*.py"))
    short = {re.sub(r"^(site_link|fleet_link|outbox)_", "", name) for name in explained} - {"dead_REASON"}
    assert sorted(name for name in short if f'"{name}"' not in source and f'"outbox_{name}"' not in source) == []
