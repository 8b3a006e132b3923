"""The agent as a process: what goes wrong costs one clear line or one counter, and never the intake."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.commands.control import ControlError, request
from edge_agent.inference.bundle_store import Bundle, BundleStore
from edge_agent.inference.tuned import Tuned, write_tuned
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Installed, Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.feedback import Feedback, Truth
from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_contract.version import CONTRACT_HIGH
from fleet_controller.demo.brokers import Broker
from fleet_controller.registry.bundles import build_bundle

FORBIDDEN = {
    "numpy", "onnxruntime", "tflite_runtime", "ai_edge_litert", "sqlalchemy", "alembic", "apscheduler", "pydantic", "tuf",
    "cryptography", "litestar", "typer", "rich", "google", "cbor2",
    "cronsim",
}  # fmt: skip
USERS = {"farm-1": "secret-1", "farm-1-site": "secret-1", "tester": "secret-2"}
PATIENCE = 20.0


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.02)
    return value


class Bench:
    """Publishes events and hears what the agent says."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="tester", protocol=paho.MQTTv5)
        self._client.username_pw_set("tester", USERS["tester"])
        self._client.on_message = lambda _client, _data, message: self._hear(message)
        subscribed: list[bool] = []
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("sh/v1/#", qos=1)
        self._client.loop_start()
        until(lambda: subscribed, "the tester has subscribed")

    def _hear(self, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, json.loads(message.payload)))

    def publish(self, payload: bytes | dict[str, Any]) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish("farm/north/weather", body, qos=1).wait_for_publish(PATIENCE)

    def tell(self, channel: str, payload: bytes) -> None:
        self._client.publish(f"sh/v1/farm-1/down/{channel}", payload, qos=1).wait_for_publish(PATIENCE)

    def event(self, number: int) -> None:
        self.publish({"id": f"e{number}", "time": f"2022-01-01T00:00:{number:02}Z", "t": number})

    def on(self, ending: str) -> list[dict[str, Any]]:
        return [message for topic, message in self.heard if topic.endswith(ending)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Agents:
    """Configurations and processes of one agent."""

    def __init__(self, folder: Path, sockets: Path, port: int) -> None:
        self.folder, self.socket = folder, sockets / "c.sock"
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self._started: list[subprocess.Popen[bytes]] = []
        (folder / "password").write_text("secret-1")
        self.configure(port)

    def configure(self, port: int, extra: str = "", topic: str = "farm/+/weather", window: int = 1) -> None:
        self.config.write_text(
            f'device = "farm-1"\nstate_dir = "{self.folder}/state"\ncontrol_socket = "{self.socket}"\nlog_json = true\n'
            f'[mqtt]\nport = {port}\npassword_file = "{self.folder}/password"\nbackoff_min = "100ms"\nbackoff_max = "500ms"\n'
            f'[site]\npassword_file = "{self.folder}/password"\n'
            f'[[pipelines]]\nname = "echo"\n{extra}[pipelines.source]\ntopic = "{topic}"\ndevice_level = 1\n'
            f"[pipelines.window]\nsize = {window}\n"
        )

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "edge_agent.cli", name, "--config", str(self.config)]

    def call(self, name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(name), capture_output=True, text=True, check=False, timeout=PATIENCE)

    def start(self, *, connected: bool = True) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(self.command("run"), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._started.append(process)
        until(lambda: process.poll() is not None or self.answers(connected), "the agent runs")
        assert process.poll() is None, self.log.read_text()
        return process

    def answers(self, connected: bool) -> bool:
        try:
            return all(self.status()["links"].values()) or not connected
        except (OSError, ControlError):
            return False

    def status(self) -> dict[str, Any]:
        return request(self.socket, "status")

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def site(mosquitto: Callable[..., Broker]) -> Broker:
    return mosquitto(USERS)


@pytest.fixture
def agents(tmp_path: Path, site: Broker) -> Iterator[Agents]:
    with TemporaryDirectory(prefix="sh") as sockets:
        made = Agents(tmp_path, Path(sockets), site.port)
        yield made
        made.close()


@pytest.fixture
def tester(site: Broker) -> Iterator[Bench]:
    made = Bench(site.port)
    yield made
    made.close()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_key_is_one_line_that_names_the_right_one_and_status_2(agents: Agents, command: str) -> None:
    agents.configure(1883, extra="durabel = true\n")
    done = agents.call(command)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "durabel" in done.stderr
    assert "durable" in done.stderr


@pytest.mark.parametrize("topic", ["farm/#/weather", "sh/v1/#", "farm/nor+th"])
def test_a_wrong_topic_filter_is_one_line_and_status_2(agents: Agents, topic: str) -> None:
    agents.configure(1883, topic=topic)
    done = agents.call("run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "source.topic" in done.stderr


def test_a_control_socket_that_cannot_be_made_is_one_line_and_status_1(agents: Agents) -> None:
    agents.config.write_text(agents.config.read_text().replace(str(agents.socket), f"{agents.folder}/{'x' * 120}"))
    done = agents.call("run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("edge-agent: cannot start: ")
    assert "Traceback" not in done.stderr


def test_a_second_agent_on_the_same_state_is_refused_and_the_first_goes_on(agents: Agents, tester: Bench) -> None:
    agents.start()
    done = agents.call("run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("edge-agent: cannot start: ")
    assert "in use" in done.stderr
    tester.event(1)
    until(lambda: len(tester.on("/result/echo")) == 1, "the first agent answers")
    assert agents.status()["links"]["site"]


def test_an_unreachable_broker_is_one_warning_at_a_time_and_is_met_when_it_comes(agents: Agents, site: Broker) -> None:
    site.stop()
    agents.start(connected=False)
    until(lambda: "127.0.0.1" in agents.log.read_text() or "refused" in agents.log.read_text(), "the agent says what is wrong")
    assert agents.status()["links"] == {"site": False, "fleet": False}
    site.start()
    until(lambda: agents.answers(True), "both links are up")


def test_random_bytes_are_counted_as_dead_letters_and_the_next_event_is_answered(agents: Agents, tester: Bench) -> None:
    agents.start()
    for payload in (b"\xff\xfe\x00\x93", b"{", b"[" * 5000, bytes(range(256)) * 20, b""):
        tester.publish(payload)
    tester.event(1)
    until(lambda: len(tester.on("/result/echo")) == 1, "the good event is answered")
    counters = agents.status()["counters"]
    assert sum(value for name, value in counters.items() if name.startswith("dead_")) == 5, counters
    assert counters["loop_errors"] == 0


def test_the_daemon_has_imported_nothing_heavy(agents: Agents, tester: Bench) -> None:
    agents.start()
    tester.event(1)
    until(lambda: tester.on("/result/echo"), "an event went through")
    assert not FORBIDDEN & set(request(agents.socket, "modules")["modules"])


def test_a_store_that_can_never_be_written_again_ends_the_daemon_and_the_event_is_delivered_again(
    agents: Agents, tester: Bench
) -> None:
    process = agents.start()
    database = sqlite3.connect(agents.folder / "state" / "agent.db")
    database.execute("CREATE TRIGGER broken BEFORE INSERT ON taken BEGIN SELECT RAISE(ABORT, 'a defect'); END")
    tester.event(1)
    assert process.wait(PATIENCE) == 1
    database.execute("DROP TRIGGER broken")
    database.close()
    agents.start()
    until(lambda: tester.on("/result/echo"), "the event is answered")


def test_stopping_says_offline_and_loses_nothing(agents: Agents, tester: Bench) -> None:
    process = agents.start()
    for number in range(20):
        tester.event(number)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    until(lambda: tester.on("/birth") and tester.on("/birth")[-1]["state"] == "offline", "the agent says that it leaves")
    agents.start()
    until(lambda: len({message["result_id"] for message in tester.on("/result/echo")}) == 20, "every event is answered")


def test_a_controller_that_is_too_new_is_told_once_for_each_revision_also_over_a_restart(agents: Agents, tester: Bench) -> None:
    def desire(revision: int, newer: int) -> None:
        tester.tell("desired", encode(Desired(revision=revision, contract=CONTRACT_HIGH + newer)))

    def told() -> list[str]:
        """Nobody acknowledges notes here, so after the restart they come again: each counts once."""
        notes = {note["seq"]: note["detail"] for note in tester.on("/note") if note["reason"] == "agent_too_old"}
        return [notes[number] for number in sorted(notes)]

    def says(newer: int) -> str:
        ours = CONTRACT_HIGH
        return f"the controller speaks contract version {ours + newer} and above, this agent up to {ours}"

    process = agents.start()
    for revision, newer in ((4, 0), (5, 1), (5, 1), (4, 1), (6, 2)):
        desire(revision, newer)
    until(lambda: says(2) in told(), "the newer revision is told")
    until(lambda: any(message["revision"] == 6 for message in tester.on("/reported")), "it is taken in all the same")
    process.terminate()
    process.wait(PATIENCE)
    agents.start()
    for revision, newer in ((6, 2), (7, 3)):
        desire(revision, newer)
    until(lambda: says(3) in told(), "the newest revision is told")
    assert told() == [says(1), says(2), says(3)]


def test_an_open_window_survives_a_kill(agents: Agents, site: Broker, tester: Bench) -> None:
    agents.configure(site.port, window=5)
    process = agents.start()
    for number in range(3):
        tester.event(number)
    until(lambda: agents.status()["journal_rows"] == 3, "the window's events are stored")
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    agents.start()
    for number in (2, 3, 4):
        tester.event(number)
    until(lambda: tester.on("/result/echo"), "the window closes")
    assert [message["events"]["ids"] for message in tester.on("/result/echo")] == [[f"e{number}" for number in range(5)]]


def install_leak(state: Path) -> Bundle:
    """Make the ONNX model `leak` the active release, as an update leaves it."""
    bundles = BundleStore(state / "models")
    tar = bundles.incoming() / "leak.tar"
    facts = build_bundle(Path(str(files("fleet_controller.demo") / "models" / "leak" / "2.0.0")), tar)
    bundle = bundles.add(tar, facts.digest)
    active = Installed(model="leak", release=1, version="2.0.0", digest=bundle.digest, since="2022-01-01T00:00:00Z")
    ledger = Ledger(revision=1, desired={"leak": DesiredModel(model="leak", release=1)}, active={"leak": active})
    done: list[Exception | None] = []
    store = Store(state / "agent.db", StoreSettings(), lambda call, *arguments: call(*arguments))
    batch = Batch()
    batch.values[LEDGER_KEY] = msgspec.msgpack.encode(ledger)
    store.submit(batch, done.append)
    until(lambda: done, "the ledger is stored")
    assert store.close(PATIENCE)
    assert done == [None]
    return bundle


def with_leak(agents: Agents, port: int) -> None:
    agents.configure(port)
    agents.config.write_text(
        agents.config.read_text() + '[[pipelines]]\nname = "leak"\nmodel = "leak"\n[pipelines.source]\n'
        'topic = "farm/+/weather"\ndevice_level = 1\nvalues = { flow = "t" }\n[pipelines.window]\nsize = 24\nstep = 1\n'
    )


def test_the_daemon_has_imported_nothing_heavy_while_an_onnx_model_answers(agents: Agents, site: Broker, tester: Bench) -> None:
    with_leak(agents, site.port)
    install_leak(agents.folder / "state")
    agents.start()
    for number in range(25):
        tester.event(number)
    until(lambda: len(tester.on("/result/leak")) == 2, "the model answers")
    assert not FORBIDDEN & set(request(agents.socket, "modules")["modules"])


def test_a_model_is_run_as_it_was_tuned(agents: Agents, site: Broker) -> None:
    with_leak(agents, site.port)
    bundle = install_leak(agents.folder / "state")
    choice = Tuned(
        threads=2,
        spin=False,
        max_batch=4,
        version="2.0.0",
        digest=bundle.digest,
        latency_p95_ms=1.0,
        per_second=900.0,
        time="2026-01-01T00:00:00+00:00",
    )
    write_tuned(agents.folder / "state", {"leak": choice})
    agents.start()
    worker = until(lambda: next((item["pid"] for item in agents.status()["workers"] if item["pid"]), None), "a worker runs")
    assert b"OMP_NUM_THREADS=2" in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")


def spoil(path: Path) -> None:
    """Change one byte of the model, not of the tar's own headers."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b"leak.onnx") + 1024] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("damage", "reason"), [(Path.unlink, "bundle_invalid"), (spoil, "hash_mismatch")])
def test_a_missing_or_changed_bundle_is_one_note_and_the_intake_goes_on(
    agents: Agents, site: Broker, tester: Bench, damage: Callable[[Path], None], reason: str
) -> None:
    with_leak(agents, site.port)
    damage(install_leak(agents.folder / "state").path)
    agents.start()
    for number in range(30):
        tester.event(number)
    until(lambda: len(tester.on("/result/echo")) == 30, "the pipeline without a model answers")
    notes = until(lambda: [note for note in tester.on("/note") if note["reason"]], "a note says what is wrong")
    assert notes[0]["reason"] == reason
    assert notes[0]["model"] == "leak"
    assert agents.status()["models"] == []
    assert tester.on("/result/leak") == []


def test_what_was_right_is_counted_reported_and_outlives_a_kill_and_nonsense_costs_nothing(
    agents: Agents, site: Broker, tester: Bench
) -> None:
    with_leak(agents, site.port)
    agents.config.write_text(agents.config.read_text() + "[store]\nremembered_answers = 100\n")
    install_leak(agents.folder / "state")
    process = agents.start()
    for number in range(25):
        tester.event(number)
    first, second = until(lambda: len(results := tester.on("/result/leak")) == 2 and results, "the model answers")
    other = next(label for label in first["outcome"]["scores"] if label != first["outcome"]["label"])
    tester.tell("feedback", b'{"number": "one"}')
    truths = (Truth(result_id=first["result_id"], label=other), Truth(result_id="unknown", label=other))
    tester.tell("feedback", encode(Feedback(number=1, truths=truths)))
    until(lambda: [each for each in tester.on("/reported") if each["feedback"] == 1], "the first message is reported")
    process.kill()
    process.wait(PATIENCE)
    agents.start()
    truths = (Truth(result_id=second["result_id"], label=second["outcome"]["label"]),)
    tester.tell("feedback", encode(Feedback(number=2, truths=truths)))
    until(lambda: [each for each in tester.on("/reported") if each["feedback"] == 2], "the second message is reported")
    (quality,) = agents.status()["quality"]
    assert (quality["release"], quality["labelled"], quality["right"]) == (1, 2, 1)
    assert agents.status()["counters"]["feedback_taken"] == 1


def with_queue(agents: Agents, port: int, queue: str) -> None:
    """A pipeline in front of a model that is not there, with windows of 24 events, and a journal of 80 events."""
    agents.configure(port)
    text = agents.config.read_text().replace("[site]", "receive_maximum = 10\n[site]")
    agents.config.write_text(
        text + '[[pipelines]]\nname = "leak"\nmodel = "leak"\n[pipelines.source]\ntopic = "farm/+/weather"\ndevice_level = 1\n'
        f"values = {{ flow = 't' }}\n[pipelines.window]\nsize = 24\n[pipelines.queue]\n{queue}\n"
        "[store]\nmax_journal_rows = 80\n"
    )


def publish_hours(tester: Bench, count: int) -> None:
    for number in range(count):
        tester.publish({"id": f"e{number}", "time": f"2022-01-01T{number // 60:02}:{number % 60:02}:00Z", "t": number})


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_while_a_model_is_away_the_journal_fills_then_events_wait_at_the_broker_and_none_is_lost(
    agents: Agents, site: Broker, tester: Bench
) -> None:
    with_queue(agents, site.port, 'policy = "hold"')
    process = agents.start()
    publish_hours(tester, 144)
    notes = until(lambda: [note for note in tester.on("/note") if note["reason"]], "a note says what is full")
    assert [note["reason"] for note in notes] == ["journal_full"]
    status = agents.status()
    assert status["journal_rows"] <= 80
    assert status["counters"]["site_link_acked"] <= 80
    assert status["counters"]["events"] <= 80 + 10
    stop(process)
    install_leak(agents.folder / "state")
    agents.start()
    until(lambda: len(tester.on("/result/leak")) == 6, "every window is answered")
    heard = [message["events"] for message in tester.on("/result/leak")]
    assert [(events["count"], events["first"]) for events in heard] == [(24, f"e{24 * number}") for number in range(6)]
    until(lambda: agents.status()["journal_rows"] == 0, "nothing is left")


def test_a_queue_that_drops_the_oldest_takes_everything_over_and_answers_the_newest(
    agents: Agents, site: Broker, tester: Bench
) -> None:
    with_queue(agents, site.port, 'policy = "drop_oldest"\nmax_windows = 2')
    process = agents.start()
    publish_hours(tester, 144)
    until(lambda: agents.status()["counters"]["site_link_acked"] == 144, "everything is acknowledged")
    assert agents.status()["counters"]["windows_dropped"] == 4
    assert agents.status()["queues"] == [{"pipeline": "leak", "policy": "drop_oldest", "max_windows": 2, "waiting": 2}]
    note = until(lambda: [note for note in tester.on("/note") if note["reason"]], "a note tells of it")[0]
    assert (note["reason"], note["model"], note["fields"]["pipeline"]) == ("windows_dropped", "leak", "leak")
    process.kill()
    process.wait(PATIENCE)
    install_leak(agents.folder / "state")
    agents.start()
    until(lambda: len(tester.on("/result/leak")) == 2, "the newest windows are answered")
    until(lambda: agents.status()["journal_rows"] == 0, "nothing is left")
    assert [message["events"]["first"] for message in tester.on("/result/leak")] == ["e96", "e120"]
    assert agents.status()["counters"].get("windows_dropped", 0) == 0


def test_a_model_that_is_over_the_memory_budget_is_unloaded_and_its_windows_wait(
    agents: Agents, site: Broker, tester: Bench
) -> None:
    with_leak(agents, site.port)
    text = agents.config.read_text()
    agents.config.write_text(text + '[inference]\nmemory_budget = "1MiB"\n')
    install_leak(agents.folder / "state")
    process = agents.start()
    note = until(lambda: [note for note in tester.on("/note") if note["reason"] == "paused"], "a note says so")[0]
    assert (note["model"], note["fields"]["cause"]) == ("leak", "memory")
    for number in range(25):
        tester.event(number)
    worker = until(lambda: next((item for item in agents.status()["workers"] if item["queue"] == 2), None), "the windows wait")
    assert (worker["mode"], worker["pid"]) == ("unload", None)
    assert "memory_budget is 1 MiB" in worker["mode_detail"]
    assert agents.status()["counters"]["models_paused"] == 1
    shown = agents.call("status").stdout
    assert "unload: workers take" in shown
    stop(process)
    agents.config.write_text(text)
    agents.start()
    until(lambda: len(tester.on("/result/leak")) == 2, "with room they are answered")
