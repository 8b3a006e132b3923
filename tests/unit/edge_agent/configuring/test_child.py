"""The validating child's functions over real files."""

import hashlib
from pathlib import Path

import pytest

from edge_agent.configuration import ConfigurationError, KeyNotAllowed, load
from edge_agent.configuring.child import current, start
from edge_agent.configuring.folder import Folder
from edge_agent.configuring.record import Layer, Record
from fleet_contract.configuration import ConfigurationState as State
from fleet_contract.reasons import Reason


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(
        f'device = "farm-1"\nstate_dir = "{tmp_path}/state"\n[mqtt]\nhost = "broker.farm"\n[site]\n'
        '[[pipelines]]\nname = "echo"\n[pipelines.source]\ntopic = "farm/+/weather"\n'
        '[pipelines.decision]\nreading = "t"\nabove = 30.0\n'
    )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "state")


def add(folder: Folder, revision: int, text: str) -> Layer:
    data = text.encode()
    layer = Layer(name="farm", revision=revision, digest=f"sha256:{hashlib.sha256(data).hexdigest()}")
    folder.add(layer, data)
    return layer


THRESHOLD = '[[pipelines]]\nname = "echo"\n[pipelines.decision]\nabove = 20.0\n'


def test_without_a_configuration_the_own_file_is_used(own: Path) -> None:
    assert start(own).settings == load(own)


def test_the_configuration_lies_over_the_own_file(own: Path, folder: Folder) -> None:
    layer = add(folder, 1, THRESHOLD)
    folder.save(Record(since="t", name="farm", revision=1, current=layer))
    decision = start(own).settings.pipelines[0].decision
    assert (decision.reading, decision.above) == ("t", 20.0)
    assert current(own).pipelines[0].decision.above == 20.0


def test_the_environment_is_last(own: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = add(folder, 1, 'log_level = "debug"\n')
    folder.save(Record(since="t", name="farm", revision=1, current=layer))
    assert start(own).settings.log_level == "debug"
    monkeypatch.setenv("SMALLHOLD_AGENT__LOG_LEVEL", "error")
    assert start(own).settings.log_level == "error"


def test_a_broker_in_a_configuration_is_refused_by_name(own: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer.toml"
    layer.write_text('[mqtt]\nhost = "evil.example"\n')
    with pytest.raises(KeyNotAllowed) as refused:
        load(own, layer)
    assert refused.value.reason is Reason.KEY_NOT_ALLOWED
    assert str(layer) in str(refused.value)
    assert "mqtt.host" in str(refused.value)


def test_an_unknown_key_is_told_with_the_file_and_the_nearest_one(own: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer.toml"
    layer.write_text('[[pipelines]]\nname = "echo"\n[pipelines.decision]\nabov = 3\n')
    with pytest.raises(ConfigurationError) as refused:
        load(own, layer)
    assert refused.value.reason is Reason.CONFIGURATION_INVALID
    assert str(layer) in str(refused.value)
    assert "'above'" in str(refused.value)


def test_a_problem_of_the_own_file_is_told_with_that_file(own: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer.toml"
    layer.write_text('[[pipelines]]\nname = "other"\n[pipelines.source]\ntopic = "a"\n')
    own.write_text(own.read_text().replace("farm/+/weather", "sh/v1/#"))
    with pytest.raises(ConfigurationError) as refused:
        load(own, layer)
    assert str(own) in str(refused.value)


def test_a_configuration_that_no_longer_fits_gives_way_to_the_one_before(own: Path, folder: Folder) -> None:
    good, bad = add(folder, 1, THRESHOLD), add(folder, 2, '[[pipelines]]\nname = "gone"\n')
    folder.save(Record(state=State.COMMITTED, since="t", name="farm", revision=2, current=bad, previous=good))
    begun = start(own)
    assert begun.settings.pipelines[0].decision.above == 20.0
    stored = folder.load()
    assert (stored.state, stored.reason, stored.current) == (State.ROLLED_BACK, Reason.CONFIGURATION_INVALID, good)


def test_a_file_that_is_not_what_was_verified_is_not_read(own: Path, folder: Folder) -> None:
    layer = add(folder, 1, THRESHOLD)
    folder.file_of(layer).write_text(THRESHOLD.replace("20", "21"))
    folder.save(Record(state=State.COMMITTED, since="t", name="farm", revision=1, current=layer))
    assert start(own).settings.pipelines[0].decision.above == 30.0
    assert folder.load().current is None


def test_a_mistake_in_the_own_file_does_not_cost_the_configuration(own: Path, folder: Folder) -> None:
    layer = add(folder, 1, THRESHOLD)
    folder.save(Record(state=State.COMMITTED, since="t", name="farm", revision=1, current=layer))
    good = own.read_text()
    own.write_text(good + "nonsense = 1\n")
    with pytest.raises(ConfigurationError):
        start(own)
    own.write_text(good)
    assert start(own).settings.pipelines[0].decision.above == 20.0


def test_a_boot_loop_ends_with_the_configuration_before(own: Path, folder: Folder) -> None:
    layer = add(folder, 1, THRESHOLD)
    folder.save(Record(state=State.APPLYING, since="t", name="farm", revision=1, current=layer, unproven=True))
    assert [start(own).settings.pipelines[0].decision.above for _ in range(4)] == [20.0, 20.0, 30.0, 30.0]
    assert folder.load().reason == Reason.START_FAILED


def test_looking_counts_no_start(own: Path, folder: Folder) -> None:
    layer = add(folder, 1, THRESHOLD)
    record = Record(state=State.PROBATION, since="t", name="farm", revision=1, current=layer, unproven=True, starts=1)
    folder.save(record)
    current(own)
    assert folder.load() == record


def test_a_record_that_cannot_be_read_leaves_the_own_file(own: Path, folder: Folder) -> None:
    add(folder, 1, THRESHOLD)
    (folder.path / "state.json").write_text("{")
    assert start(own).settings.pipelines[0].decision.above == 30.0
