"""`fleet feedback` and `fleet model accuracy` against the real service."""

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from fleet_contract.messages import Health, ModelHealth, encode
from fleet_controller.enrolment.tokens import hash_token, new_token
from fleet_controller.store.database import Database, sqlite_url
from fleet_controller.store.operators import add_operator
from fleet_controller.store.slots import Channel, Slot, write_slots
from fleet_controller.store.tables import devices, releases, results


@pytest.fixture(scope="module")
def ids(served) -> list[str]:
    """Results of a model `soil` in the service's database."""
    database = Database(sqlite_url(served.state_dir / "controller.db"))
    outcome = {"label": "dry", "score": 0.9, "scores": {"dry": 0.9, "wet": 0.1}}
    found = [f"soil-{number}" for number in range(12)]
    with database.write() as connection:
        connection.execute(sa.insert(devices).values(device="soil-dev", labels={}, created=0.0))
        published = {"digest": "sha256:", "size": 1, "floor": 0, "manifest": {}, "created": 0.0}
        connection.execute(sa.insert(releases).values(model="soil", release=1, version="1.0.0", **published))
        payload = msgspec.json.encode({"outcome": outcome, "model": {"name": "soil"}})
        row = {"device": "soil-dev", "pipeline": "p", "source": "s", "model": "soil", "release": 1, "payload": payload}
        connection.execute(sa.insert(results), [row | {"result_id": name, "received": 1000.0} for name in found])
    database.close()
    return found


def test_a_label_is_given_corrected_and_its_history_shown(served, ids: list[str]) -> None:
    assert served.fleet_json("feedback", ids[0], "--label", "dry", "--source", "grower")["taken"] == 1
    assert served.fleet_json("feedback", ids[0], "--label", "wet")["corrected"] == 1
    assert served.fleet_json("feedback", ids[0], "--label", "wet")["repeated"] == 1
    history = served.fleet_json("feedback", ids[0], "--history")
    assert [(each["label"], each["source"], each["replaced"] is None) for each in history] == [
        ("dry", "grower", False),
        ("wet", None, True),
    ]


def test_a_file_is_taken_line_by_line_and_what_is_refused_is_named_by_its_line(served, ids: list[str], tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    lines = ["result_id,label,value", f"{ids[1]},dry,", f"{ids[2]},wet,", "unknown,dry,", f"{ids[3]},dyr,", f"{ids[4]},,x"]
    lines += [f"{ids[5]},dry,", f"{ids[5]},wet,", "too,many,,columns"]
    file.write_text("\n".join(lines) + "\n")
    done = served.fleet("feedback", "--file", file, "-o", "json")
    answer = msgspec.json.decode(done.stdout)
    assert (done.returncode, answer["taken"]) == (1, 2)
    assert {each["line"]: each["reason"] for each in answer["refused"]} == {
        4: "unknown_result",
        5: "bad_feedback",
        6: "bad_feedback",
        7: "contradictory",
        8: "contradictory",
        9: "bad_feedback",
    }
    assert f"{file}:5: label 'dyr' is none of dry, wet (bad_feedback)" in done.stderr
    again = msgspec.json.decode(served.fleet("feedback", "--file", file, "-o", "json").stdout)
    assert (again["taken"], again["repeated"]) == (0, 2)


def test_jsonl_is_read_too_and_a_file_without_errors_ends_with_0(served, ids: list[str], tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(f'{{"result_id": "{ids[6]}", "label": "dry"}}\n\n{{"result_id": "{ids[7]}", "label": "dry"}}\n')
    assert served.fleet_json("feedback", "--file", file)["taken"] == 2
    file.write_text('[1]\n{"result_id": 5, "label": "dry"}\n{"lable": "dry"}\nnot json\n')
    done = served.fleet("feedback", "--file", file)
    assert done.returncode == 1
    for text in ("l:1: not a JSON object", "l:2: result_id is not a text", "l:3: unknown field 'lable'", "l:4: not JSON"):
        assert text in done.stderr


def test_accuracy_is_shown_for_people_and_for_programs(served, ids: list[str]) -> None:
    served.fleet("feedback", ids[8], "--label", "dry")
    answer = served.fleet_json("model", "accuracy", "soil", "--by", "device")
    (group,) = answer["groups"]
    assert (group["device"], group["results"]) == ("soil-dev", 12)
    assert 0 < group["interval"][0] < group["accuracy"] < group["interval"][1]
    shown = served.fleet("model", "accuracy", "soil").stdout
    assert "1.0.0 (r1)" in shown
    assert "was right" in shown
    assert served.fleet("model", "accuracy", "nothing").returncode == 3
    assert served.fleet("model", "accuracy", "soil", "--version", "9").returncode == 3


def test_what_the_device_itself_knows_is_shown_with_its_health(served, ids: list[str]) -> None:
    figures = {"inferences": 9, "errors": 0, "restarts": 0, "queue": 0}
    models = (
        ModelHealth(model="soil", release=1, labelled=40, right=38, **figures),
        ModelHealth(model="load", release=1, labelled=5, right=0, mean_error=1.25, **figures),
    )
    health = Health(
        time="2026-01-01T00:00:00Z",
        boot_id="b",
        interval_s=60,
        uptime_s=1,
        cpu_percent=1,
        memory_percent=1,
        daemon_memory_bytes=1,
        disk_free_bytes=1,
        outbox_rows=0,
        outbox_bytes=0,
        journal_rows=0,
        results_per_minute=1,
        links={},
        models=models,
    )
    database = Database(sqlite_url(served.state_dir / "controller.db"))
    with database.write() as connection:
        write_slots(connection, {("soil-dev", Channel.HEALTH): Slot("", 0, encode(health), 1000.0)})
    database.close()
    shown = served.fleet("device", "show", "soil-dev").stdout
    assert "38 of 40 right" in shown
    assert "mean error 1.25 of 5" in shown


def test_what_cannot_be_meant_is_refused_as_usage(served, tmp_path: Path) -> None:
    assert served.fleet("feedback").returncode == 2
    assert served.fleet("feedback", "r1").returncode == 2
    assert served.fleet("feedback", "r1", "--label", "a", "--value", "1").returncode == 2
    assert served.fleet("feedback", "--file", tmp_path / "labels.txt", "--label", "a").returncode == 2


def test_a_result_that_is_not_there_ends_with_3_and_says_so_alone(served) -> None:
    done = served.fleet("feedback", "r1", "--label", "dry")
    assert (done.returncode, done.stdout) == (3, "")
    assert "there is no result 'r1'" in done.stderr


def test_a_viewer_reads_accuracy_and_gives_nothing(served, ids: list[str]) -> None:
    token = new_token()
    database = Database(sqlite_url(served.state_dir / "controller.db"))
    with database.write() as connection:
        add_operator(connection, "feedback-reader", "viewer", hash_token(token), 0.0)
    database.close()
    with served.client(token) as client:
        assert client.get("/api/v1/models/soil/accuracy").status_code == 200
        truths = [{"result_id": ids[0], "label": "dry"}]
        assert client.post("/api/v1/feedback", json={"truths": truths}).status_code == 403
    with served.client() as client:
        assert client.post("/api/v1/feedback", json={"truths": []}).status_code == 400
        assert client.post("/api/v1/feedback", json={"truths": truths * 1001}).status_code == 400
        actions = {each["action"] for each in client.get("/api/v1/audit").json()}
    assert "feedback.give" in actions
