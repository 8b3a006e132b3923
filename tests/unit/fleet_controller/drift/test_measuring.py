"""What devices have counted, added up over a fleet, and what operators are shown of it."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from fleet_contract.baseline import Baseline, fingerprint, parse_baseline
from fleet_contract.drift import count_numbers, make_number_baseline
from fleet_contract.manifest import parse_manifest
from fleet_controller.cli.drift import _render
from fleet_controller.drift.measuring import measure
from fleet_controller.store import tables
from fleet_controller.store.database import Database, open_database, sqlite_url
from models.bundle_folder import MODELS


def gauss(seed: int, count: int, mean: float = 0.0) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(mean, 1.0) for _ in range(count)]


FLOW = make_number_baseline(gauss(1, 1000))
assert FLOW is not None
BASELINE = Baseline(schema=1, samples=1000, numbers={"input.flow": FLOW})
BINS = fingerprint(BASELINE)


def health(values: list[float], *, release: int = 1, bins: str | None = BINS, model: str = "leak") -> bytes:
    drift = {"bins": bins, "inputs": 1, "total": 1, "numbers": {"input.flow": count_numbers(values, FLOW)}}  # type: ignore[arg-type]
    return msgspec.json.encode({"models": [{"model": model, "release": release, "drift": drift}]})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(sqlite_url(tmp_path / "controller.db"))
    yield opened
    opened.close()


@pytest.fixture
def tell(database: Database) -> Callable[..., None]:
    def store(device: str, payload: bytes, received: float = 1000.0) -> None:
        with database.write() as connection:
            connection.execute(sa.insert(tables.health).values(device=device, received=received, payload=payload))

    return store


def ask(database: Database, *devices: str, since: float = 0.0) -> list[dict[str, Any]]:
    known = {1: {BINS: BASELINE}}
    with database.read() as connection:
        view = measure(connection, "leak", devices, since, lambda release: known.get(release, {}))
    assert view["complete"]
    groups: list[dict[str, Any]] = view["groups"]
    return groups


def test_counts_of_devices_and_intervals_add_up_and_are_judged_together(database: Database, tell: Callable[..., None]) -> None:
    for seed in range(10):
        tell("a", health(gauss(seed, 40)))
        tell("b", health(gauss(100 + seed, 40)))
    (group,) = ask(database, "a", "b")
    assert (group["devices"], group["inputs"], group["judged"]) == (2, 800, True)
    assert [item["drifted"] for item in group["sketches"]] == [False]
    assert ask(database, "a")[0]["judged"] is False


def test_a_fleet_that_drifts_is_seen_and_a_group_can_be_looked_at_alone(database: Database, tell: Callable[..., None]) -> None:
    tell("a", health(gauss(2, 600)))
    tell("b", health(gauss(3, 600, mean=3.0)))
    assert ask(database, "a")[0]["sketches"][0]["drifted"] is False
    assert ask(database, "b")[0]["sketches"][0]["drifted"] is True


def test_releases_and_baselines_are_not_mixed(database: Database, tell: Callable[..., None]) -> None:
    tell("a", health(gauss(2, 10)))
    tell("a", health(gauss(2, 20), release=2, bins="other"))
    tell("a", health(gauss(2, 30), bins=None))
    tell("a", health(gauss(2, 40), model="frost"))
    groups = ask(database, "a")
    assert [(group["release"], group["baseline"], group["inputs"]) for group in groups] == [
        (2, "other", 20),
        (1, None, 30),
        (1, BINS, 10),
    ]
    assert [len(group["sketches"]) for group in groups] == [0, 0, 1]


def test_what_is_older_of_another_device_or_no_health_is_left_out(database: Database, tell: Callable[..., None]) -> None:
    tell("a", health(gauss(2, 10)), received=10.0)
    tell("a", health(gauss(2, 20)), received=20.0)
    tell("b", health(gauss(2, 40)))
    tell("a", b"{not json")
    drift = {"numbers": {"input.flow": [1, 2]}, "bins": BINS}  # of another length than the bins have
    tell("a", msgspec.json.encode({"models": [{"model": "leak", "release": 1, "drift": drift}]}))
    (group,) = ask(database, "a", since=15.0)
    assert group["inputs"] == 20


def test_a_service_answers_for_its_published_release(served: Any, tmp_path: Path) -> None:
    folder = MODELS / "frost" / "1.0.0"
    bundle = tmp_path / "frost.tar"
    served.fleet_json("model", "build", folder, "--out", bundle)
    release = served.fleet_json("model", "add", bundle, "--key", served.release_key)["release"]
    for name in ("north", "south"):
        served.fleet_json("device", "add", f"drift-{name}", "--out", tmp_path / name, "--label", f"side={name}")
    baseline = parse_baseline((folder / "baseline.json").read_bytes(), parse_manifest((folder / "model.toml").read_bytes()))
    known = baseline.numbers["input.temp_min"]
    near, far = known.counts, count_numbers([40.0] * 600, known)
    with sqlite3.connect(served.state_dir / "controller.db") as database:
        for name, counts in (("north", near), ("south", far)):
            drift = {"bins": fingerprint(baseline), "numbers": {"input.temp_min": counts}}
            payload = msgspec.json.encode({"models": [{"model": "frost", "release": release, "drift": drift}]})
            now = database.execute("select strftime('%s', 'now')").fetchone()[0]
            row = (f"drift-{name}", float(now), payload)
            database.execute("insert into health (device, received, payload) values (?, ?, ?)", row)
    both = served.fleet_json("model", "drift", "frost")["groups"][0]
    assert (both["version"], both["devices"], both["inputs"]) == ("1.0.0", 2, sum(near) + 600)
    north = served.fleet_json("model", "drift", "frost", "--select", "side=north")["groups"][0]
    assert [(item["psi"], item["drifted"]) for item in north["sketches"]] == [(0.0, False)]
    shown = served.fleet("model", "drift", "frost", "--select", "side=south")
    assert "drifted" in shown.stdout
    assert "100.0%" in shown.stdout
    assert served.fleet("model", "drift", "nobody").returncode == 3


def test_an_answer_without_counts_or_without_all_of_them_says_so() -> None:
    parts = _render({"model": "leak", "complete": False, "groups": []}).renderables
    assert [str(part) for part in parts] == [
        "nothing was counted in this time",
        "! there is more than is read for one answer: the oldest is left out",
    ]
