"""What operators do with configurations: set, look at, take away, and end. Assigning is a rollout (`rollouts/service.py`)."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from fleet_contract.configuration import ConfigurationRevision, check_version, configuration_path
from fleet_controller.configurations import store
from fleet_controller.configurations.checking import CheckFailed, find_problems
from fleet_controller.configurations.store import Revision, Use
from fleet_controller.desired import DesiredStates
from fleet_controller.registry.publication import PublicationError
from fleet_controller.registry.repository import Repository
from fleet_controller.rollouts.policy import Kind
from fleet_controller.rollouts.service import Conflict, NotFound, Rollouts, Selection
from fleet_controller.store.database import Database
from fleet_controller.store.operators import record_action

log = logging.getLogger(__name__)

UNCHECKED: Final = "not checked here: no edge-agent is installed on the controller; each device checks it before use"


class InvalidConfiguration(ValueError):
    """It would be refused by every device; the text has one line for each problem."""


class Configurations:
    """Callable from any thread."""

    def __init__(
        self,
        database: Database,
        repository: Repository,
        desired: DesiredStates,
        rollouts: Rollouts,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._repository, self._desired, self._rollouts = database, repository, desired, rollouts
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def put(
        self, content: bytes, facts: ConfigurationRevision, operator: str, *, dry_run: bool = False
    ) -> tuple[Revision, str | None]:
        """Check, sign and publish the next revision of a name; returns it, and a warning where it could not be checked.

        The number in `facts` is not looked at. What is the same as the newest revision is not published again. Raises
        InvalidConfiguration, PublicationError, ValueError for a bad name or version, and OSError.
        """
        configuration_path(facts.name, 1)
        check_version(facts.agent)
        if facts.contract_low < 1 or (facts.contract_high is not None and facts.contract_high < facts.contract_low):
            raise ValueError("contract versions count from 1, and the upper end is not below the lower one")
        try:
            problems = find_problems(content, f"{facts.name}.toml")
        except CheckFailed as error:
            raise InvalidConfiguration(str(error)) from error
        if problems:
            raise InvalidConfiguration("\n".join(problems))
        warning = UNCHECKED if problems is None else None
        with self._one_at_a_time:
            with self._database.read() as connection:
                earlier = store.revisions(connection, facts.name)
            asked = (content, facts.contract_low, facts.contract_high, facts.agent)
            if earlier:
                newest = earlier[-1]
                if (newest.content, newest.contract_low, newest.contract_high, newest.agent) == asked:
                    return newest, warning
            # A removed number is not given again: on a device it stands for other bytes.
            signed_so_far = [item.revision for item in self._repository.configurations() if item.name == facts.name]
            number = max([*signed_so_far, *(item.revision for item in earlier), self._highest_known(facts.name)], default=0) + 1
            signed = ConfigurationRevision(
                name=facts.name,
                revision=number,
                contract_low=facts.contract_low,
                contract_high=facts.contract_high,
                agent=facts.agent,
            )
            digest = "" if dry_run else self._repository.publish_configuration(signed, content)
            row = self._row(signed, content, digest, operator)
            if not dry_run:
                with self._database.write() as connection:
                    store.add(connection, row)
                    details = {"revision": number, "digest": digest}
                    record_action(connection, self._clock(), operator, "config.set", facts.name, details)
                log.info("a configuration is published", extra={"configuration": facts.name, "revision": number})
            return row, warning

    def sync(self) -> None:
        """Enter what the repository has and the database lacks: a crash may have come between the two."""
        with self._database.read() as connection:
            known = {(row.name, row.revision) for row in store.revisions(connection)}
        for signed in self._repository.configurations():
            if (signed.name, signed.revision) not in known:
                content, digest = self._repository.read_configuration(signed.name, signed.revision)
                with self._database.write() as connection:
                    store.add(connection, self._row(signed, content, digest, None))

    def all(self) -> tuple[list[Revision], dict[str, Use]]:
        """Every revision, and what each device has to do with them."""
        with self._database.read() as connection:
            return store.revisions(connection), store.uses(connection)

    def show(self, name: str, revision: int | None = None) -> tuple[Revision, dict[str, Use]]:
        """One revision (None: the newest), and the devices that want or run any of this name. Raises NotFound."""
        with self._database.read() as connection:
            rows, uses = store.revisions(connection, name), store.uses(connection)
        row = next((row for row in reversed(rows) if revision in (None, row.revision)), None)
        if row is None:
            what = f"configuration {name!r}" if revision is None else f"revision {revision} of configuration {name!r}"
            raise NotFound(f"there is no {what}; `fleet config list` shows what there is")
        return row, {device: use for device, use in uses.items() if name in use.names}

    def unassign(self, selection: Selection, operator: str, *, dry_run: bool = False) -> list[str]:
        """Let the selected devices go back to their own files alone; returns those that had a configuration.

        Raises NotFound, and Conflict where a rollout of a configuration holds one.
        """
        with self._database.read() if dry_run else self._database.write() as connection:
            chosen = self._rollouts.select(connection, Kind.CONFIGURATION, "", selection)
            told = [device for device in chosen if self._desired.get(connection, device).configuration is not None]
            if dry_run:
                return told
            for device in told:
                self._desired.configure(connection, device, None)
                record_action(connection, self._clock(), operator, "config.unassign", device, {})
        self._desired.publish(told)
        return told

    def remove(self, name: str, revision: int, operator: str) -> None:
        """Take a revision out of the signed metadata: no device takes it any more. Raises NotFound, Conflict and OSError."""
        with self._one_at_a_time:
            self.show(name, revision)
            with self._database.read() as connection:
                busy = store.rollouts_of(connection, name, revision)
                used = [device for device, use in store.uses(connection).items() if (name, revision) in (use.wanted, use.runs)]
            if busy:
                raise Conflict(f"rollout {busy[0]} brings revision {revision} of {name}: abort it or let it end first")
            if used:
                raise Conflict(f"revision {revision} of {name} is used by {', '.join(used)}: assign another one first")
            self._repository.remove_configurations([(name, revision)])
            with self._database.write() as connection:
                store.remove(connection, name, revision)
                record_action(connection, self._clock(), operator, "config.remove", name, {"revision": revision})

    def _highest_known(self, name: str) -> int:
        """The highest number that any device speaks of."""
        with self._database.read() as connection:
            parts = [part for use in store.uses(connection).values() for part in (use.wanted, use.runs) if part is not None]
            removed = store.removed(connection, name)
        return max([*(number for known, number in parts if known == name), *removed], default=0)

    def _row(self, signed: ConfigurationRevision, content: bytes, digest: str, operator: str | None) -> Revision:
        return Revision(
            name=signed.name,
            revision=signed.revision,
            digest=digest,
            content=content,
            contract_low=signed.contract_low,
            contract_high=signed.contract_high,
            agent=signed.agent,
            operator=operator,
            created=self._clock(),
        )


def open_configurations(
    database: Database,
    repository: Repository,
    desired: DesiredStates,
    rollouts: Rollouts,
    clock: Callable[[], float],
) -> Configurations:
    """The room of the running service, with the database in step with the repository."""
    configurations = Configurations(database, repository, desired, rollouts, clock)
    try:
        configurations.sync()
    except (PublicationError, OSError) as error:
        log.error("a published configuration cannot be read", extra={"error": str(error)})
    return configurations
