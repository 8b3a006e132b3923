import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_controller.enrolment.broker_password import password_matches
from fleet_controller.enrolment.devices import DeviceExists, DeviceMissing, Enrolment, EnrolmentError
from fleet_controller.enrolment.tokens import hash_token
from fleet_controller.settings import ControllerSettings, EnrolmentSettings
from fleet_controller.store.database import Database, open_database, sqlite_url
from fleet_controller.store.enrolled import device_of_token


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(sqlite_url(tmp_path / "controller.db"))
    yield database
    database.close()


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text("# by hand\nfleet-controller:$7$101$AAAA$AAAA\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def enrol(tmp_path: Path, database: Database, passwords: Path) -> Callable[..., Enrolment]:
    def make(signal_process: Callable[[int, int], None] | None = None, **enrolment: object) -> Enrolment:
        settings = ControllerSettings(
            state_dir=tmp_path, enrolment=EnrolmentSettings(broker_password_file=passwords, **enrolment)
        )
        extra = {"signal_process": signal_process} if signal_process else {}
        return Enrolment(settings, database, lambda: 1000.0, **extra)

    return make


def test_only_hashes_of_the_credentials_are_kept(enrol, database: Database, passwords: Path, tmp_path: Path) -> None:
    made = enrol().add("barn", {"site": "farm"}, "admin")
    (line,) = [line for line in passwords.read_text().splitlines() if line.startswith("barn:")]
    assert password_matches(line, made.broker_password)
    assert passwords.read_text().startswith("# by hand\nfleet-controller:")
    assert passwords.stat().st_mode & 0o777 == 0o640
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("controller.db*")) + passwords.read_bytes()
    assert made.token.encode() not in kept
    assert made.broker_password.encode() not in kept


def test_the_broker_is_told_by_signal_after_the_file_is_written(enrol, passwords: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, bool]] = []
    pid = tmp_path / "mosquitto.pid"
    pid.write_text("4321\n")
    enrolment = enrol(lambda *call: told.append((*call, "barn:" in passwords.read_text())), broker_pid_file=pid)
    assert enrolment.add("barn", {}, "admin").warning is None
    assert told == [(4321, signal.SIGHUP, True)]
    assert enrolment.forget("barn", "admin") is None
    assert told[1:] == [(4321, signal.SIGHUP, False)]
    assert enrolment.sync_broker() is None
    assert len(told) == 2


@pytest.mark.parametrize("content", ["", "0", "1", "-5", "abc"])
def test_a_pid_file_that_names_no_process_of_the_broker_signals_nobody(enrol, tmp_path: Path, content: str) -> None:
    told: list[tuple[int, int]] = []
    pid = tmp_path / "mosquitto.pid"
    pid.write_text(content)
    made = enrol(lambda *call: told.append(call), broker_pid_file=pid).add("barn", {}, "admin")
    assert made.warning is not None
    assert told == []


def test_the_broker_is_told_by_a_fixed_command_and_its_failure_is_said(enrol, tmp_path: Path) -> None:
    touch = (sys.executable, "-c", f"open({str(tmp_path / 'told')!r}, 'w')")
    assert enrol(broker_reload_command=touch).add("barn", {}, "admin").warning is None
    assert (tmp_path / "told").exists()
    failing = (sys.executable, "-c", "raise SystemExit(3)")
    made = enrol(broker_reload_command=failing).add("silo", {}, "admin")
    assert "could not be told" in str(made.warning)


def test_a_crash_between_database_and_file_is_mended_at_the_next_start(enrol, passwords: Path) -> None:
    before = passwords.read_text()
    enrol().add("barn", {}, "admin")
    after = passwords.read_text()
    passwords.write_text(before)
    enrol().sync_broker()
    assert passwords.read_text() == after
    enrol().forget("barn", "admin")
    passwords.write_text(after)
    enrol().sync_broker()
    assert passwords.read_text() == before


def test_names_are_taken_once_and_forgotten_devices_are_missing(enrol, database: Database) -> None:
    enrolment = enrol()
    made = enrolment.add("barn", {}, "admin")
    with pytest.raises(DeviceExists):
        enrolment.add("barn", {}, "admin")
    with pytest.raises(DeviceExists):
        enrolment.check("barn", {})
    enrolment.forget("barn", "admin")
    for step in (lambda: enrolment.forget("barn", "admin"), lambda: enrolment.relabel("barn", {"a": "b"}, "admin")):
        with pytest.raises(DeviceMissing):
            step()
    with database.read() as connection:
        row = device_of_token(connection, hash_token(made.token))
    assert row is not None
    assert row.revoked == 1000.0


@pytest.mark.parametrize("labels", [{"": "x"}, {"a": ""}, {"a=b": "c"}, {"a": "b,c"}, {"a": "x" * 64}, {"a b": "c"}])
def test_a_label_that_could_not_be_selected_is_refused(enrol, labels: dict[str, str]) -> None:
    with pytest.raises(EnrolmentError, match="label"):
        enrol().add("barn", labels, "admin")
