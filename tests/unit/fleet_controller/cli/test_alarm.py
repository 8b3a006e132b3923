from fleet_controller.store.alarms import AlarmRow, write_alarms
from fleet_controller.store.database import Database, sqlite_url


def test_alarms_that_are_on_are_listed_and_all_of_them_if_asked_for(served) -> None:
    database = Database(sqlite_url(served.state_dir / "controller.db"))
    with database.write() as connection:
        for name, state in (("a1", "active"), ("a2", "cleared")):
            row = AlarmRow(
                device="barn-9",
                alarm_id=name,
                pipeline="cold",
                source="north",
                state=state,
                severity="critical",
                text="north is at 1 °C",
                since="2026-01-01T10:00:00Z",
                time="2026-01-01T11:00:00Z",
                first_received=1000.0,
                received=2000.0,
            )
            write_alarms(connection, [row])
    database.close()
    (found,) = served.fleet_json("alarm", "list", "--device", "barn-9")
    assert (found["id"], found["state"], found["severity"], found["source"]) == ("a1", "active", "critical", "north")
    assert (found["since"], found["first_received"]) == ("2026-01-01T10:00:00Z", "1970-01-01T00:16:40.000Z")
    assert len(served.fleet_json("alarm", "list", "--device", "barn-9", "--all")) == 2
    assert served.fleet_json("alarm", "list", "--device", "nobody") == []
    shown = served.fleet("alarm", "list")
    assert (shown.returncode, "north is at 1 °C" in shown.stdout) == (0, True)
