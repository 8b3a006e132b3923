"""A real agent whose updates wait: for a maintenance window, for an operator, and under a clock that nobody can believe."""

import json
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner

from edge_agent.commands.control import request
from fleet_contract.configuration import DesiredConfiguration
from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_controller.demo.brokers import Broker
from fleet_controller.registry.repository import create_repository
from tests.faults.world import UNDER_FAKETIME, faketime_environment
from tests.integration.test_agent_process import PATIENCE, Agents, Bench, install_leak, until, with_leak
from tests.integration.test_agent_process import agents as agents
from tests.integration.test_agent_process import site as site
from tests.integration.test_agent_process import tester as tester


def opens_in(seconds: int) -> datetime:
    """A whole second, so many from now on."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def with_updates(agents: Agents, port: int, opening: datetime) -> None:
    """The root of trust is none, so that an attempt to fetch is a failure of its own kind."""
    with_leak(agents, port)
    token = agents.folder / "token"
    token.write_text("t")
    cron = f"{opening.second} {opening.minute} {opening.hour} {opening.day} {opening.month} *"
    agents.config.write_text(
        agents.config.read_text().replace(
            "[site]",
            f'[updates]\nurl = "http://127.0.0.1:9"\ntoken_file = "{token}"\nroot_file = "{token}"\nretry_min = "1min"\n'
            f'[[updates.windows]]\ncron = "{cron}"\nduration = "1h"\n[site]',
            1,
        )
    )


def update(agents: Agents) -> dict[str, Any]:
    updates: list[dict[str, Any]] = agents.status()["updates"]
    return updates[0] if updates else {"state": None, "reason": None}


def updates_command(agents: Agents, *arguments: str) -> Any:
    command = [*agents.command("updates"), *arguments, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return json.loads(done.stdout)


def test_an_update_waits_for_an_operator_and_for_its_window_and_goes_on(agents: Agents, site: Broker, tester: Bench) -> None:
    opening = opens_in(7200)
    with_updates(agents, site.port, opening)
    install_leak(agents.folder / "state")
    process = agents.start()
    assert updates_command(agents, "hold", "leak", "--why", "harvest") == {"holds": ["leak"]}
    tester.tell("desired", encode(Desired(revision=2, models=(DesiredModel(model="leak", release=2),))))
    held = until(lambda: (found := update(agents))["reason"] == "held" and found, "the hold is told")
    assert "harvest" in held["detail"]
    until(lambda: any(message["holds"] == ["leak"] for message in tester.on("/reported")), "the hold is reported")
    assert updates_command(agents, "release") == {"released": ["leak"]}
    waits = until(lambda: (found := update(agents))["reason"] == "outside_window" and found, "the window is told")
    assert datetime.fromisoformat(waits["until"]) == opening
    process.terminate()
    process.wait(PATIENCE)
    with_updates(agents, site.port, opens_in(-60))
    agents.start()
    until(lambda: update(agents)["reason"] == "metadata_invalid", "the window is open and an attempt was made")
    events = [item["event"] for item in updates_command(agents, "log")["leak"]]
    assert events == ["desired", "already active", "desired", "begin", "failed"]
    until(lambda: any(note["reason"] == "metadata_invalid" for note in tester.on("/note")), "the end is told")
    # Nobody acknowledges notes here, so after the restart they come again: each counts once.
    told = {note["seq"]: note["reason"] for note in tester.on("/note") if note["reason"]}
    assert [told[number] for number in sorted(told)] == ["held", "outside_window", "metadata_invalid"]
    assert "cronsim" in request(agents.socket, "modules")["modules"]


def test_a_device_that_boots_in_1970_goes_on_working_and_says_so(agents: Agents, site: Broker, tester: Bench) -> None:
    with_updates(agents, site.port, opens_in(-60))
    install_leak(agents.folder / "state")
    clock = faketime_environment() | {"FAKETIME": f"{600 - time.time():.0f}"}
    program = ["env", *(f"{name}={value}" for name, value in clock.items()), sys.executable, "-c", UNDER_FAKETIME]
    agents.command = lambda name: [*program, name, "--config", str(agents.config)]  # type: ignore[method-assign]
    agents.start()
    tester.event(1)
    until(lambda: tester.on("/result/echo"), "an event is answered")
    assert agents.status()["clock_behind_s"] > 1e9
    until(lambda: [note for note in tester.on("/note") if note["reason"] == "clock_behind"], "a note says so")
    tester.tell("desired", encode(Desired(revision=2, models=(DesiredModel(model="leak", release=2),))))
    waits = until(lambda: (found := update(agents))["reason"] == "clock_behind" and found, "such a clock tells no window")
    assert (waits["state"], waits["until"]) == ("waiting", None)


def test_a_configuration_and_an_update_take_turns_and_neither_loses_an_attempt(
    agents: Agents, site: Broker, tester: Bench
) -> None:
    with_updates(agents, site.port, opens_in(-60))
    keys = {role: CryptoSigner.generate_ed25519() for role in ("targets", "models", "snapshot", "timestamp", "config")}
    repository = agents.folder / "repository"
    create_repository(repository, root=[CryptoSigner.generate_ed25519() for _ in range(2)], **keys, now=datetime.now(UTC))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(PATIENCE)
        text = agents.config.read_text().replace("[[updates", 'refresh_interval = "0s"\n[[updates', 1)
        text = text.replace(f'root_file = "{agents.folder}/token"', f'root_file = "{agents.folder}/root"')
        agents.config.write_text(text.replace("127.0.0.1:9", f"127.0.0.1:{silent.getsockname()[1]}"))
        (agents.folder / "root").write_bytes(next((repository / "metadata").glob("*root.json")).read_bytes())
        install_leak(agents.folder / "state")
        agents.start()
        models, configuration = (DesiredModel(model="leak", release=2),), DesiredConfiguration(name="farm", revision=1)
        tester.tell("desired", encode(Desired(revision=2, models=models, configuration=configuration)))
        with closing(silent.accept()[0]):
            waits = until(lambda: (found := update(agents)).get("release") == 2 and found, "the update is known")
            assert (waits["state"], waits["attempts"]) == ("waiting", 0)
            assert agents.status()["configuration"]["state"] == "fetching"
        # Cut off, the configuration waits a minute, and the update has its turn.
        with closing(silent.accept()[0]):
            until(lambda: update(agents)["state"] == "fetching", "the update fetches")
            assert agents.status()["configuration"]["state"] == "waiting"
            events = [item["event"] for item in updates_command(agents, "log")["leak"]]
            assert events == ["desired", "already active", "desired", "begin"]
            assert update(agents)["attempts"] == 1
