import pytest

from fleet_controller.enrolment.broker_password import password_matches
from fleet_controller.enrolment.tokens import hash_token, new_token
from fleet_controller.store.database import Database, sqlite_url
from fleet_controller.store.operators import add_operator


@pytest.fixture(scope="module")
def viewer(served) -> str:
    token = new_token()
    database = Database(sqlite_url(served.state_dir / "controller.db"))
    with database.write() as connection:
        add_operator(connection, "reader", "viewer", hash_token(token), 0.0)
    database.close()
    return token


def test_a_viewer_reads_and_changes_nothing(served, viewer: str) -> None:
    with served.client(viewer) as client:
        assert client.get("/api/v1/devices").status_code == 200
        assert client.get("/api/v1/health").status_code == 200
        for method, path in (
            ("POST", "/devices"),
            ("DELETE", "/devices/any"),
            ("PATCH", "/devices/any"),
            ("POST", "/devices/any/commands"),
            ("POST", "/rollouts"),
            ("POST", "/rollouts/1/pause"),
            ("POST", "/releases"),
            ("PUT", "/uploads/" + "0" * 64),
        ):
            answer = client.request(method, "/api/v1" + path, json={})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)


def test_a_new_device_is_in_the_brokers_password_file_and_in_the_audit_log(served) -> None:
    with served.client() as client:
        made = client.post("/api/v1/devices", json={"device": "barn-api", "labels": {"site": "farm"}}).json()
        lines = (served.state_dir / "broker.passwords").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("barn-api:")]
        assert password_matches(line, made["broker_password"])
        assert any(line.startswith("fleet-controller:") for line in lines)
        again = client.post("/api/v1/devices", json={"device": "barn-api"})
        assert (again.status_code, again.json()["code"]) == (409, "exists")
        shown = client.get("/api/v1/devices/barn-api").json()
        assert (shown["labels"], shown["online"], shown["desired"]["revision"]) == ({"site": "farm"}, False, 0)
        assert made["token"] not in client.get("/api/v1/devices/barn-api").text
        actions = client.get("/api/v1/audit").json()
    assert any((each["action"], each["subject"], each["operator"]) == ("device.add", "barn-api", "admin") for each in actions)


@pytest.mark.parametrize("name", ["", "a/b", "a+", "x-site", "fleet-controller", "a b", "a:b"])
def test_a_device_id_that_cannot_be_is_refused(served, name: str) -> None:
    with served.client() as client:
        answer = client.post("/api/v1/devices", json={"device": name})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_an_unknown_field_in_a_body_is_refused_by_its_name(served) -> None:
    with served.client() as client:
        answer = client.post("/api/v1/devices", json={"device": "x", "lables": {}})
    assert answer.status_code == 400
    assert "lables" in answer.json()["detail"]


def test_a_forgotten_device_can_be_taken_in_again_with_new_credentials(served) -> None:
    with served.client() as client:
        first = client.post("/api/v1/devices", json={"device": "again"}).json()
        assert client.delete("/api/v1/devices/again", params={"dry_run": True}).json()["dry_run"]
        assert client.get("/api/v1/devices/again").status_code == 200
        assert client.delete("/api/v1/devices/again").json()["forgotten"]
        assert client.get("/api/v1/devices/again").status_code == 404
        assert client.delete("/api/v1/devices/again").status_code == 404
        second = client.post("/api/v1/devices", json={"device": "again"}).json()
    assert first["token"] != second["token"]
    with served.client(first["token"]) as old:
        assert old.get("/artifacts/metadata/timestamp.json").status_code == 401


def test_a_command_without_a_broker_is_refused_as_temporary(served) -> None:
    with served.client() as client:
        client.post("/api/v1/devices", json={"device": "silent"})
        answer = client.post("/api/v1/devices/silent/commands", json={"name": "ping"})
        assert (answer.status_code, answer.json()["code"]) == (503, "broker_unreachable")
        unknown = client.post("/api/v1/devices/nobody/commands", json={"name": "ping"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


def test_errors_of_the_framework_have_the_same_shape(served) -> None:
    with served.client() as client:
        for answer in (client.get("/api/v1/nothing"), client.get("/api/v1/rollouts/x"), client.put("/api/v1/devices")):
            assert answer.status_code in (404, 405)
            assert set(answer.json()) == {"code", "detail"}
