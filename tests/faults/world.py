"""A whole fleet of one device as real processes, and a sensor with its log: what the faults happen to."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from edge_agent.commands.control import ControlError, request
from fleet_controller.demo.brokers import Kind, Role
from fleet_controller.demo.proxy import Proxy
from fleet_controller.settings import load_settings
from tests.faults.founding import DEVICE, MODEL, found, put_in_state
from tests.faults.programs import PausableBroker, Program, Target, Worker, until
from tests.faults.sensor import Sensor

KEEPALIVE: Final = 5.0
RATE: Final = 500.0
"""Events a second."""
WINDOW: Final = 7
"""Events of a station that the second pipeline looks at together."""
STEP: Final = 3
LISTENING: Final = "connected to the fleet broker"
"""The controller's log line."""
DISK_BYTES: Final = 24 * 1024**2
"""Of the small disk."""

SERVE: Final = """
import sys
from pathlib import Path
from fleet_controller.controller import run
from fleet_controller.settings import load_settings
sys.exit(run(load_settings(Path(sys.argv[1]))))
"""
SOURCE: Final = '[pipelines.source]\ntopic = "farm/+/weather"\ndevice_level = 1\n'
PIPELINES: Final = {
    "echo": f'[[pipelines]]\nname = "echo"\ndurable = true\n{SOURCE}',
    "frost": f'[[pipelines]]\nname = "frost"\nmodel = "{MODEL}"\ndurable = true\n{SOURCE}[pipelines.window]\nsize = {WINDOW}\n',
}
UNDER_FAKETIME: Final = """
import select, sys, time
time.sleep = lambda seconds: select.select([], [], [], seconds)
from edge_agent.cli import main
sys.exit(main())
"""
"""Starts the agent with a sleep that libfaketime leaves alone. Python's own is, from 3.11 on, clock_nanosleep to an absolute
time, of which libfaketime 0.9.10 makes a negative one when the monotonic clock is not faked (its issue 426)."""
_FAKETIME: Final = ("/usr/lib/{}/faketime/libfaketimeMT.so.1", ("x86_64-linux-gnu", "aarch64-linux-gnu"))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a world is like."""

    pipelines: tuple[str, ...] = ("echo", "frost")
    qos: int = 1
    """Of the sensor."""
    proxied: bool = False
    """Both links of the agent go through proxies."""
    small_disk: bool = False
    """The agent's state folder lies on a tmpfs of its own (as root)."""
    stepped_clock: bool = False
    """The agent runs under libfaketime."""
    max_outbox_rows: int = 1_000_000
    broker_may_lose: int = 0
    """Events that the site broker may have acknowledged and not written when it is killed: one of each connection."""
    step: int = STEP
    """Events of a station from the beginning of one window to that of the next: each event is in two or three windows."""


class World:
    """Site broker, fleet broker, controller, agent, sensor. `close` ends them all."""

    def __init__(self, folder: Path, conditions: Conditions, seed: int, rate: float = RATE) -> None:
        self.folder = folder
        self.conditions = conditions
        self.state = folder / "agent"
        self.config = folder / "agent.toml"
        self.clock_file = folder / "clock"
        self.before_damage: Path | None = None
        """A copy of agent.db from before a fault damaged it."""
        self._endings: list[Callable[[], None]] = []
        self._ports = random.Random(f"{seed} {os.getpid()}")
        sockets = TemporaryDirectory(prefix="sh")
        self._endings.append(sockets.cleanup)
        self._control = Path(sockets.name) / "c.sock"
        try:
            self._build(seed, rate)
        except BaseException:
            self.close()
            raise

    def _build(self, seed: int, rate: float) -> None:
        folder = self.folder
        users = {"sensor": "sensor-password", f"{DEVICE}-site": "site-password"}
        self.site = PausableBroker(Kind.MOSQUITTO, folder / "site", self._free_port(), users, role=Role.SITE)
        controller = {"fleet-controller": "controller-password"}
        self.fleet = PausableBroker(Kind.MOSQUITTO, folder / "fleet", self._free_port(), controller, role=Role.FLEET)
        for broker in (self.site, self.fleet):
            self._endings.append(broker.stop)
            broker.start()
            broker.wait_ready()
        self.proxies: dict[str, Proxy] = {}
        if self.conditions.proxied:
            for name, broker in (("site", self.site), ("fleet", self.fleet)):
                self.proxies[name] = Proxy(broker.port, self._free_port())
                self._endings.append(self.proxies[name].close)
        self._http_port = self._free_port()
        self._set_up_controller()
        if self.conditions.small_disk and can_mount():
            self.state.mkdir()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "smallhold-test", str(self.state)], check=True, timeout=10
            )
            self._endings.append(lambda: unmount(self.state))
        self._set_up_agent()
        self.controller = Program([sys.executable, "-c", SERVE, str(folder / "controller.toml")], folder / "controller.log")
        program = ("-c", UNDER_FAKETIME) if self.conditions.stepped_clock else ("-m", "edge_agent.cli")
        self.agent = Program(
            [sys.executable, *program, "run", "--config", str(self.config)], folder / "agent.log", self._clock()
        )
        self._endings.append(self.controller.stop)
        self.controller.start()
        # what an outbox sends while no controller listens waits for its first resend
        until(lambda: LISTENING in self.controller.log_tail(), self.controller.log_tail, 60.0)
        self._endings.append(self.agent.stop)
        self.agent.start()
        until(self.ready, lambda: f"agent and model are up; {self.agent.log_tail()}", 60.0)
        self.sensor = Sensor(self.site.port, "sensor-password", folder / "sensor.jsonl", rate, self.conditions.qos, seed)
        self._endings.append(self.sensor.close)
        self.targets: dict[str, Target] = {
            "agent": self.agent,
            "worker": Worker(self.worker_pid),
            "site broker": self.site,
            "fleet broker": self.fleet,
            "controller": self.controller,
        }

    def close(self) -> None:
        """End everything, in reverse order."""
        while self._endings:
            self._endings.pop()()

    def _free_port(self) -> int:
        """A port below those that the system gives to clients: one of these could take a broker's port while it is away."""
        while True:
            port = self._ports.randrange(12_000, 32_000)
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            return port

    def _set_up_controller(self) -> None:
        folder = self.folder
        (folder / "controller-password").write_text("controller-password")
        (folder / "controller.toml").write_text(
            f'state_dir = "{folder}/controller"\n'
            f'[mqtt]\nport = {self.fleet.port}\nusername = "fleet-controller"\npassword_file = "{folder}/controller-password"\n'
            f'backoff_max = "1s"\nkeepalive = {KEEPALIVE}\n'
            f'[http]\nport = {self._http_port}\n[enrolment]\nbroker_password_file = "{self.fleet.passwords}"\n'
        )
        settings = load_settings(folder / "controller.toml")
        self.database_url = settings.database_url
        self._founded = found(settings, folder)
        self.fleet.reload()

    def _set_up_agent(self) -> None:
        folder, conditions = self.folder, self.conditions
        (folder / "site-password").write_text("site-password")
        link = f'backoff_min = "200ms"\nbackoff_max = "1s"\nkeepalive = {KEEPALIVE}\n'
        ports = {name: proxy.port for name, proxy in self.proxies.items()}
        self.config.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{self.state}"\ncontrol_socket = "{self._control}"\nlog_json = true\n'
            f'[mqtt]\nport = {ports.get("fleet", self.fleet.port)}\npassword_file = "{folder}/agent-password"\n{link}'
            f'[site]\nport = {ports.get("site", self.site.port)}\npassword_file = "{folder}/site-password"\n{link}'
            f"[store]\nmax_outbox_rows = {conditions.max_outbox_rows}\nmin_free_bytes = 0\n"
            f'[updates]\nurl = "http://127.0.0.1:{self._http_port}"\n'
            f'token_file = "{folder}/token"\nroot_file = "{folder}/root.json"\n'
            '[health]\ninterval = "5s"\n'
            + "".join(PIPELINES[name] for name in conditions.pipelines)
            # the last one has windows, where there is one with windows
            + (f"step = {conditions.step}\n" if "frost" in conditions.pipelines else "")
        )
        put_in_state(self.state, self._founded)

    def _clock(self) -> dict[str, str]:
        """Environment in which `clock_file` says what the agent takes for the time."""
        if not self.conditions.stepped_clock:
            return {}
        self.step_clock(0)
        return faketime_environment() | {"FAKETIME_TIMESTAMP_FILE": str(self.clock_file), "FAKETIME_NO_CACHE": "1"}

    def step_clock(self, seconds: int) -> None:
        """Set the agent's wall clock off by this much."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.clock_file)

    def ready(self) -> bool:
        """Whether both links are up and the model answers."""
        status = self.status()
        if status is None or not all(status["links"].values()):
            return False
        return bool(status["models"])

    def status(self) -> dict[str, Any] | None:
        """What the agent says of itself; None while it does not answer."""
        try:
            return request(self._control, "status", timeout=5.0)
        except (OSError, ControlError):
            return None

    def worker_pid(self) -> int | None:
        """The model's worker, once it answers."""
        status = self.status()
        return status["workers"][0]["pid"] if status and status["models"] else None


def faketime_environment() -> dict[str, str]:
    """For a program whose wall clock alone is another. The command `faketime` would stand between it and its signals."""
    pattern, places = _FAKETIME
    library = next(path for path in map(pattern.format, places) if Path(path).exists())
    return {"LD_PRELOAD": library, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


def can_mount() -> bool:
    """Whether this user may mount a tmpfs. Without, a file size limit stands in for the small disk."""
    return os.geteuid() == 0


def unmount(folder: Path) -> None:
    """Take the small disk away, if there is one; what it holds is copied beside it first, for whoever looks at a failure."""
    if os.path.ismount(folder):
        subprocess.run(["cp", "-a", str(folder), f"{folder}-disk"], check=False, timeout=30)
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)
