"""The demo's machines: folders, ports, users, brokers, controller, agents and sensors, each a process of its own."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from fleet_controller.demo.brokers import Broker, Kind, Role
from fleet_controller.demo.evidence import ResultsDatabase
from fleet_controller.demo.fleet_command import FLEET, Operator, run_fleet
from fleet_controller.demo.fleet_plan import CANARY, DEVICES, GATEWAYS, Device, Stream, agent_toml, sensor_log, sensor_plan
from fleet_controller.demo.processes import DemoError, Processes, clean_environment, module_command
from fleet_controller.demo.proxy import Proxy

CONTROLLER_USER: Final = "fleet-controller"
STATUS_TIMEOUT: Final = 30.0
PASSPHRASE_BYTES: Final = 18


class World:
    """Everything that runs, below one folder. `stop` ends all of it, whatever has been started."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.kind = kind
        self.folder = folder
        self.bundles = folder / "bundles"
        self.sensor_logs = folder / "sensors"
        self._secrets = folder / "secrets"
        self._controller = folder / "controller"
        for each in (self.bundles, self.sensor_logs, self._secrets):
            each.mkdir(parents=True)
        self._secrets.chmod(0o700)
        self._sockets = Path(tempfile.mkdtemp(prefix="smallhold-"))  # the path of a Unix socket is at most 107 bytes
        self.processes = Processes(folder / "logs")
        self._fleet_port, self._http_port = free_port(), free_port()
        self.mqtt_link = Proxy(self._fleet_port)
        """Between the agents and the fleet broker."""
        self.http_link = Proxy(self._http_port)
        """Between the agents and the controller's downloads."""
        self.canary_links = (Proxy(self.mqtt_link.port), Proxy(self.http_link.port))
        """Between the canary and these two."""
        self._site_users = {f"{device.name}-site": secrets.token_hex(12) for device in DEVICES}
        self._site_users |= {f"{site}-gateway": secrets.token_hex(12) for site in GATEWAYS}
        self._site_broker = Broker(kind, folder / "site-broker", free_port(), self._site_users, role=Role.SITE)
        self._fleet_broker: Broker | None = None
        self._operator: Operator | None = None
        self.database = ResultsDatabase(f"sqlite:///{self._controller / 'controller.db'}")
        """The controller's, for looking."""

    @property
    def operator(self) -> Operator:
        """Raises RuntimeError before `found`."""
        if self._operator is None:
            raise RuntimeError("there is no controller yet")
        return self._operator

    @property
    def site_port(self) -> int:
        """Where sensors publish."""
        return self._site_broker.port

    # ---- controller and brokers

    def found(self) -> dict[str, Any]:
        """`fleet init`; returns what it has made."""
        passphrase = self._secret("release-key", secrets.token_hex(PASSPHRASE_BYTES))
        broker = self.folder / "fleet-broker"
        broker.mkdir()
        made: dict[str, Any] = run_fleet(
            "init",
            *("--state-dir", str(self._controller), "--passphrase-file", str(passphrase)),
            *("--broker-port", str(self._fleet_port), "--broker-user", CONTROLLER_USER),
            *("--http-port", str(self._http_port), "--public-url", f"http://127.0.0.1:{self.http_link.port}"),
            *self._password_options(broker),
        )
        self._operator = Operator(
            Path(made["operator_config"]),
            Path(made["token_file"]),
            f"http://127.0.0.1:{self._http_port}",
            Path(made["release_key"]),
            passphrase,
        )
        return made

    def _password_options(self, broker: Path) -> tuple[str, ...]:
        if self.kind is Kind.IOTCORE:
            return ()  # it reads its users at its start alone
        return "--broker-password-file", str(broker / "passwords"), "--broker-pid-file", str(broker / "pid")

    def start_site_broker(self) -> None:
        """Where sensors publish and agents read."""
        self._site_broker.start()
        self._site_broker.wait_ready()
        for user, password in self._site_users.items():
            self._secret(user, password)

    def start_fleet_broker(self) -> None:
        """Where agents and controller talk. iotcore reads its users at its start alone: there the devices are added before."""
        users = {} if self.kind is Kind.MOSQUITTO else self._fleet_users()
        self._fleet_broker = Broker(self.kind, self.folder / "fleet-broker", self._fleet_port, users, role=Role.FLEET)
        self._fleet_broker.start()
        (self.folder / "fleet-broker" / "pid").write_text(f"{self._fleet_broker.pid}\n")
        self._fleet_broker.wait_ready()

    def _fleet_users(self) -> dict[str, str]:
        users = {CONTROLLER_USER: (self._controller / "broker-password").read_text().strip()}
        return users | {device.name: (self._issued(device) / "broker-password").read_text().strip() for device in DEVICES}

    def start_controller(self) -> None:
        """`fleet serve`; devices are told to reach the broker through the link that the demo can cut."""
        self.processes.start(
            "controller",
            [*FLEET, "serve", "--config", str(self._controller / "controller.toml")],
            {
                "SMALLHOLD_CONTROLLER__ENROLMENT__BROKER_PORT": str(self.mqtt_link.port),
                # From a delta that was made in time a device would have the right bytes of the version that is tampered with.
                "SMALLHOLD_CONTROLLER__REGISTRY__DELTAS_FROM": "0",
            },
        )

    def stored_bundle(self, sha256: str) -> Path:
        """The file that devices download; raises DemoError if it is not there."""
        found = [path for path in (self._controller / "repository" / "targets").rglob(f"{sha256}*") if path.is_file()]
        if len(found) != 1:
            raise DemoError(f"the bundle {sha256[:12]} is not in the repository")
        return found[0]

    # ---- devices and sensors

    def add_device(self, device: Device) -> None:
        """`fleet device add`, and the device's own configuration around what that has written."""
        self.operator.add_device(device.name, device.site, self._issued(device))
        self.config(device).write_text(
            agent_toml(
                device,
                self._through_links(device, (self._issued(device) / "agent.toml").read_text()),
                state_dir=self.folder / device.name / "state",
                control_socket=self.control_socket(device),
                site_port=self.site_port,
                password=self._secrets / f"{device.name}-site",
            )
        )

    def _through_links(self, device: Device, issued: str) -> str:
        """The canary reaches the fleet through links of its own."""
        if device.name == CANARY:
            for shared, own in zip((self.mqtt_link, self.http_link), self.canary_links, strict=True):
                issued = issued.replace(str(shared.port), str(own.port))
        return issued

    def start_agent(self, device: Device) -> None:
        """`edge-agent run`."""
        self.processes.start(device.name, module_command("edge_agent.cli", "run", "--config", str(self.config(device))))

    def start_sensors(self) -> None:
        """One process for the sensors of each site."""
        for site in GATEWAYS:
            password = self._secrets / f"{site}-gateway"
            plan = sensor_plan(site, DEVICES, port=self.site_port, password=password, logs=self.sensor_logs)
            file = self.folder / f"{site}-sensors.json"
            file.write_text(json.dumps(plan, indent=2))
            self.processes.start(f"{site}-sensors", module_command("fleet_controller.demo.publisher", str(file)))

    def stop_sensors(self) -> None:
        """They end when the site broker has acknowledged all that they sent; raises DemoError if it has not."""
        statuses = self.processes.stop([f"{site}-sensors" for site in GATEWAYS], timeout=60.0)
        if any(statuses.values()):
            raise DemoError(f"sensors did not end in order: {statuses}")

    def stop_agents(self) -> None:
        """In order, so that what they hold is committed."""
        self.processes.stop([device.name for device in DEVICES])

    def agent_status(self, device: Device) -> dict[str, Any] | None:
        """`edge-agent status` over the control socket; None while the agent does not answer."""
        done = subprocess.run(
            module_command("edge_agent.cli", "status", "-o", "json", "--socket", str(self.control_socket(device))),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=clean_environment(),
            timeout=STATUS_TIMEOUT,
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    def config(self, device: Device) -> Path:
        """The agent's configuration file."""
        return self.folder / device.name / "agent.toml"

    def control_socket(self, device: Device) -> Path:
        """The agent's control socket."""
        return self._sockets / f"{device.name}.sock"

    def sensor_log(self, device: Device, stream: Stream) -> Path:
        """What the sensor says it has sent."""
        return sensor_log(self.sensor_logs, device, stream)

    def _issued(self, device: Device) -> Path:
        return self.folder / device.name / "issued"

    # ---- the end

    def stop(self) -> None:
        """End every process, oldest last, and remove the sockets."""
        if self._operator is not None:
            self._operator.close()
        self.database.close()
        self.processes.stop([name for name in self.processes.names() if name != "controller"], timeout=10.0)
        self.processes.stop(["controller"])
        for broker in (self._fleet_broker, self._site_broker):
            if broker is not None:
                broker.stop()
        for link in (*self.canary_links, self.mqtt_link, self.http_link):
            link.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def log_tails(self) -> dict[str, str]:
        """The end of every log, by name."""
        tails = {path.stem: self.processes.log_tail(path.stem) for path in sorted((self.folder / "logs").glob("*.log"))}
        tails["site-broker"] = _without_saving(self._site_broker.log_tail())
        if self._fleet_broker is not None:
            tails["fleet-broker"] = _without_saving(self._fleet_broker.log_tail())
        return {name: tail for name, tail in tails.items() if tail.strip()}

    def _secret(self, name: str, value: str) -> Path:
        path = self._secrets / name
        with (
            contextlib.suppress(FileExistsError),
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f,
        ):
            f.write(value + "\n")
        return path


def _without_saving(log: str) -> str:
    """Mosquitto writes a line for each autosave, which tells nothing here."""
    return "\n".join(line for line in log.splitlines() if "Saving in-memory database" not in line)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
