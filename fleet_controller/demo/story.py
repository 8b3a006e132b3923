"""The demo's story, told with real processes: what is done, what is awaited, and what is seen. Judging comes afterwards."""

import time
from collections.abc import Callable
from importlib.resources import as_file, files
from typing import Any, Final

from fleet_contract.reasons import MEANING, Reason
from fleet_controller.demo.brokers import Kind
from fleet_controller.demo.fleet_plan import CANARY, DEVICES, UPDATED, WORSE, Device
from fleet_controller.demo.processes import DemoError
from fleet_controller.demo.progress import Progress
from fleet_controller.demo.told import Told
from fleet_controller.demo.world import World

MODELS: Final = UPDATED | {"reports": "city"}
START_TIMEOUT: Final = 60.0
ROLLOUT_TIMEOUT: Final = 120.0
SETTLE_TIMEOUT: Final = 120.0
SOAK: Final = 4.0
CUT_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 1.5
"""Between two looks at the outboxes while the link is cut."""
QUIET_SECONDS: Final = 4.0
"""How long the database must not grow at the end, with every outbox empty."""
FETCHED: Final = ("staging", "testing", "activating", "probation")
"""States in which an update needs the network no more."""
CALM_SECONDS: Final = 6.0
"""How long each version is watched before the next step."""
BROKEN, TAMPERED, UNSURE = "3.0.0", "4.0.0", "5.0.0"


class Story:
    """The seven steps over one world."""

    def __init__(self, world: World, progress: Progress) -> None:
        self.told = Told()
        self._world = world
        self._progress = progress

    def tell(self) -> Told:
        """Play it; raises DemoError when something does not come about."""
        with self._progress.step("An empty fleet: keys, database, signing repository, brokers, controller, four agents"):
            self._found()
        with self._progress.step("Version 1 is published, assigned, fetched over HTTP, verified; results flow"):
            self._first_versions()
        with self._progress.step("Version 2 goes to one canary of each site, then to the rest"):
            self._second_versions()
        with self._progress.step("Version 3 is broken, version 4 was tampered with after signing: both must be refused"):
            self._bad_versions()
        with self._progress.step("Version 5 is worse on live events: its device finds out alone, cut off, and takes it back"):
            self._worse_version()
        with self._progress.step("The link between the devices and the fleet is cut, and comes back"):
            self._cut_link()
        with self._progress.step("The sensors stop; everything that is still on its way arrives"):
            self._finish()
        return self.told

    # ---- the steps

    def _found(self) -> None:
        world = self._world
        world.start_site_broker()
        world.found()
        self._progress.saw("`fleet init` has made keys, database and signing repository")
        if world.kind is Kind.MOSQUITTO:
            world.start_fleet_broker()
        world.start_controller()
        self._await("the controller answers", lambda: world.operator.look("/health"), START_TIMEOUT)
        self._progress.saw(f"site broker, fleet broker ({world.kind}) and controller run")
        for device in DEVICES:
            world.add_device(device)
        self._progress.saw(f"`fleet device add` for {', '.join(device.name for device in DEVICES)}")
        if world.kind is Kind.IOTCORE:
            world.start_fleet_broker()
        for device in DEVICES:
            world.start_agent(device)
        self._await("every agent is online", lambda: self._all(lambda view: view["online"]), START_TIMEOUT)
        self._progress.saw("all four agents are online, with nothing but their configuration")

    def _first_versions(self) -> None:
        for model in MODELS:
            self._publish(model, "1.0.0")
        numbers = [self._world.operator.start_rollout(model, site, canary=0, soak=0) for model, site in MODELS.items()]
        for number in numbers:
            self._await_rollout(number, "done")
        self._progress.saw("every device has fetched, verified and tested its models and attests their digests")
        self._world.start_sensors()
        self._mark("sensors start")
        self._await_results("results of every pipeline are in the controller's database", self._pipelines_with_results)
        self._watch()

    def _second_versions(self) -> None:
        numbers = {}
        self._mark("version 2")
        for model, site in UPDATED.items():
            self._publish(model, "2.0.0")
            numbers[model] = self._world.operator.start_rollout(model, site, canary=1, soak=SOAK)
        for model, number in numbers.items():
            self._await_rollout(number, "done")
            rollout = self._world.operator.show_rollout(number)
            canary, rest = sorted(rollout["members"], key=lambda member: member["wave"])
            self._progress.saw(
                f"{model} 2.0.0: canary {canary['device']} attested at {canary['attested'][11:19]}, "
                f"{rest['device']} was told only after {SOAK:g} s of health, at {rest['assigned'][11:19]}"
            )
            if rest["assigned"] < canary["attested"]:
                raise DemoError(f"{rest['device']} was told before the canary {canary['device']} had attested")
        self._await("every device attests version 2", lambda: self._all(self._attests_second), ROLLOUT_TIMEOUT)
        self._watch()

    def _bad_versions(self) -> None:
        began = time.time()
        self._refuse(BROKEN, "broken: its golden samples fail")
        self._refuse(TAMPERED, "one byte changed in the repository after signing")
        self._await("every device still attests version 2", lambda: self._all(self._attests_second), START_TIMEOUT)
        self.told.refusing = (began, time.time())
        self._progress.saw("version 2 answered all the while, on every device")

    def _worse_version(self) -> None:
        world = self._world
        model, site = WORSE
        device = next(device for device in DEVICES if device.name == CANARY)
        self._mark("version 5")
        release = self._publish(model, UNSURE)
        number = world.operator.start_rollout(model, site, canary=1, soak=SOAK, shadow=False)
        self._progress.saw(f"version 5 is on its way to {CANARY}, without a shadow before: its golden samples are met")
        self._await(f"{CANARY} has fetched version 5", lambda: self._stands(device, release, *FETCHED), ROLLOUT_TIMEOUT)
        for link in world.canary_links:
            link.cut()
        began = time.time()
        self._progress.saw(f"{CANARY} has fetched version 5; its link to the fleet is cut")
        self._await(f"{CANARY} takes it back by itself", lambda: self._stands(device, release, "rolled_back"), ROLLOUT_TIMEOUT)
        status = world.agent_status(device) or {}
        if status.get("links", {}).get("fleet", True):
            raise DemoError(f"{CANARY} was not cut off when it took version 5 back")
        update = _update_of(status, model)
        self._progress.saw(
            f"[yellow]{CANARY} took {model} {UNSURE} back after {update['evidence']['candidate']['inferences']} inferences: "
            f"{update['reason']}[/yellow] ({update['detail']})"
        )
        for link in world.canary_links:
            link.restore()
        self.told.canary_cut = (began, time.time())
        self._await_rollout(number, "paused")
        rollout = world.operator.show_rollout(number)
        self.told.taken_back = {
            "device": CANARY,
            "model": model,
            "version": UNSURE,
            "release": release["release"],
            "reason": update["reason"],
            "meaning": _meaning(update["reason"]),
            "detail": update["detail"],
            "evidence": update["evidence"],
            "offline_s": round(self.told.canary_cut[1] - began, 1),
            "rollout": number,
            "rollout_state": rollout["state"],
            "rollout_reason": rollout["reason"],
            "untouched": [member["device"] for member in rollout["members"] if member["state"] == "pending"],
        }
        self._progress.saw(f"the link is back: rollout {number} paused by itself, {rollout['detail'] or rollout['reason']}")
        world.operator.return_rollout(number)
        self._await("every device attests version 2 again", lambda: self._all(self._attests_second), START_TIMEOUT)

    def _stands(self, device: Device, release: dict[str, Any], *states: str) -> bool:
        """Whether the device itself says that its update to the release is in one of these states."""
        update = _update_of(self._world.agent_status(device) or {}, release["model"])
        if update.get("release") != release["release"]:
            return False
        if update["state"] in ("rejected", "committed"):
            raise DemoError(f"{device.name}: {release['model']} {release['version']} is {update['state']}: {update['detail']}")
        return update["state"] in states

    def _cut_link(self) -> None:
        world = self._world
        before = world.database.count_results()
        world.mqtt_link.cut()
        world.http_link.cut()
        began = time.time()
        self._progress.saw("the link is cut: no broker, no downloads")
        self._await(
            "the controller sees all devices offline", lambda: self._all(lambda view: not view["online"]), START_TIMEOUT
        )
        while time.time() < began + CUT_SECONDS:
            self._progress.waiting(f"cut off for {time.time() - began:.0f} of {CUT_SECONDS:.0f} s")
            world.processes.check()
            self.told.outbox_peak = self._look_at_outboxes()
            time.sleep(LOOK_SECONDS)
        waiting = ", ".join(f"{name} {rows}" for name, rows in self.told.outbox_peak.items())
        self._progress.saw(f"results wait on the devices: {waiting}")
        world.http_link.restore()
        world.mqtt_link.restore()
        self.told.cut = (began, time.time())
        self._progress.saw(f"the link is back after {self.told.cut[1] - began:.0f} s")
        wanted = before + sum(self.told.outbox_peak.values())
        self._await("all devices are online again", lambda: self._all(lambda view: view["online"]), START_TIMEOUT)
        self._await_results("what had waited is in the database", lambda: self._arrived(wanted), SETTLE_TIMEOUT)
        self._watch()

    def _finish(self) -> None:
        world = self._world
        for view in world.operator.look("/devices") or ():
            self.told.attested[view["device"]] = _models(view)
            self.told.online[view["device"]] = view["online"]
        world.stop_sensors()
        self.told.sensors_stopped = time.time()
        self._progress.saw("the sensors have stopped; the site broker has acknowledged all that they sent")
        self._await("every outbox is empty and the database grows no more", _Settled(world), SETTLE_TIMEOUT)
        self._progress.saw(f"every outbox is empty; {world.database.count_results()} results are in the controller's database")
        world.stop_agents()

    # ---- parts of steps

    def _look_at_outboxes(self) -> dict[str, int]:
        """Device to rows in its outbox, as `edge-agent status` shows them."""
        rows = {}
        for device in DEVICES:
            status = self._world.agent_status(device)
            if status is None:
                raise DemoError(f"{device.name} does not answer on its control socket")
            rows[device.name] = status["outbox_rows"]
            self.told.outboxes.append((time.time(), device.name, rows[device.name]))
        return rows

    def _arrived(self, wanted: int) -> bool:
        self._look_at_outboxes()
        return self._world.database.count_results() >= wanted

    def _publish(self, model: str, version: str) -> dict[str, Any]:
        world = self._world
        with as_file(files("fleet_controller.demo") / "models" / model / version) as folder:
            release = world.operator.publish(folder, world.bundles / f"{model}-{version}.tar")
        self.told.releases[model, version] = release
        self._progress.saw(f"published {model} {version} as release {release['release']}, {release['digest'][:19]}…")
        return release

    def _refuse(self, version: str, why: str) -> None:
        operator = self._world.operator
        numbers = {}
        self._mark(f"version {version[0]}")
        for model, site in UPDATED.items():
            release = self._publish(model, version)
            if version == TAMPERED:
                _flip_one_byte(self._world, release["digest"].removeprefix("sha256:"))
            numbers[model] = operator.start_rollout(model, site, canary=1, soak=SOAK)
        self._progress.saw(f"version {version} ({why}) is on its way to the canaries")
        for model, number in numbers.items():
            self._await_rollout(number, "paused")
            rollout = operator.show_rollout(number)
            refused = next((member for member in rollout["members"] if member["state"] == "rejected"), None)
            if refused is None:
                raise DemoError(f"rollout {number} paused, but no device rejected {model} {version}: {rollout['reason']}")
            self.told.refusals.append(
                {
                    "device": refused["device"],
                    "model": model,
                    "version": version,
                    "release": rollout["release"],
                    "reason": refused["reason"],
                    "meaning": _meaning(refused["reason"]),
                    "detail": refused["detail"],
                    "rollout": number,
                    "untouched": [member["device"] for member in rollout["members"] if member["state"] == "pending"],
                }
            )
            self._progress.saw(
                f"[yellow]{refused['device']} refused {model} {version}: {refused['reason']}[/yellow] "
                f"({_meaning(refused['reason'])})"
            )
            operator.return_rollout(number)
        self._progress.saw(
            f"the rollouts paused by themselves; the operator returned both ({', '.join(map(str, numbers.values()))})"
        )
        self._watch(CALM_SECONDS / 2)

    def _watch(self, seconds: float = CALM_SECONDS) -> None:
        before, end = self._world.database.count_results(), time.monotonic() + seconds
        while time.monotonic() < end:
            now = self._world.database.count_results()
            self._progress.waiting(f"{now} results in the controller's database")
            self._world.processes.check()
            time.sleep(0.5)
        came = self._world.database.count_results() - before
        self._progress.saw(f"{came} more results in {seconds:.0f} s")

    # ---- waiting

    def _await(self, what: str, look: Callable[[], Any], timeout: float) -> None:
        self._progress.waiting(f"waiting: {what}")
        self._world.processes.wait_for(what, look, timeout)

    def _await_results(self, what: str, look: Callable[[], bool], timeout: float = ROLLOUT_TIMEOUT) -> None:
        self._await(what, look, timeout)
        self._progress.saw(what)

    def _await_rollout(self, number: int, state: str) -> None:
        def look() -> bool:
            rollout = self._world.operator.look(f"/rollouts/{number}")
            if rollout is not None and rollout["state"] not in ("running", state):
                raise DemoError(
                    f"rollout {number} is {rollout['state']}, not {state}: {rollout['reason']}: {rollout['detail']}"
                )
            return rollout is not None and rollout["state"] == state

        self._await(f"rollout {number} is {state}", look, ROLLOUT_TIMEOUT)

    def _all(self, test: Callable[[dict[str, Any]], bool]) -> bool:
        views = self._world.operator.look("/devices") or ()
        return len(views) == len(DEVICES) and all(test(view) for view in views)

    def _attests_second(self, view: dict[str, Any]) -> bool:
        models = _models(view)
        device = next(device for device in DEVICES if device.name == view["device"])
        return all(
            models.get(model, {}).get("digest") == self.told.releases[model, "2.0.0"]["digest"]
            for model, site in UPDATED.items()
            if site == device.site
        )

    def _pipelines_with_results(self) -> bool:
        wanted = sum(len(device.streams) for device in DEVICES)
        return self._world.database.count_pipelines() == wanted

    def _mark(self, text: str) -> None:
        self.told.marks.append((time.time(), text))


class _Settled:
    """True once every outbox is empty and the results' table has not grown for `QUIET_SECONDS`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = -1
        self._since = time.monotonic()

    def __call__(self) -> bool:
        count = self._world.database.count_results()
        if count != self._count or not all(self._idle(device) for device in DEVICES):
            self._count, self._since = count, time.monotonic()
            return False
        return time.monotonic() - self._since >= QUIET_SECONDS

    def _idle(self, device: Device) -> bool:
        status = self._world.agent_status(device)
        return status is not None and status["outbox_rows"] == 0 and all(each["queue"] == 0 for each in status["workers"])


def _models(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {model["model"]: model for model in (view["reported"] or {}).get("models", ())}


def _update_of(status: dict[str, Any], model: str) -> dict[str, Any]:
    return next((update for update in status.get("updates", ()) if update["model"] == model), {})


def _meaning(reason: str | None) -> str:
    return MEANING[Reason(reason)] if reason in set(Reason) else ""


def _flip_one_byte(world: World, sha256: str) -> None:
    """Tamper with what was signed: the length stays."""
    path = world.stored_bundle(sha256)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
