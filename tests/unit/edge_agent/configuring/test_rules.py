import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest

from edge_agent.configuring.rules import RULES, Owner, changed_keys, find_forbidden, merge, needs_restart, rule_of
from edge_agent.settings import AgentSettings

LOCAL = {
    "device": "farm-1",
    "log_level": "info",
    "inference": {"threads": 1, "models": {"frost": {"max_batch": 8}}},
    "pipelines": [
        {"name": "echo", "source": {"topic": "farm/+/weather", "device_level": 1}, "decision": {"reading": "t", "above": 30}},
        {"name": "frost", "model": "frost", "source": {"topic": "farm/+/frost"}},
    ],
}


def test_every_setting_at_the_top_has_a_rule() -> None:
    assert {item.name for item in dataclasses.fields(AgentSettings)} <= {rule.path for rule in RULES}


def test_every_rule_names_a_setting() -> None:
    def exists(kind: Any, parts: list[str]) -> bool:
        if not parts:
            return True
        if typing.get_origin(kind) is dict:
            return exists(typing.get_args(kind)[1], parts[1:])
        hints = typing.get_type_hints(kind)
        return parts[0] in hints and exists(hints[parts[0]], parts[1:])

    assert [rule.path for rule in RULES if not exists(AgentSettings, rule.path.split("."))] == []


@pytest.mark.parametrize(
    "key",
    ["device", "state_dir", "control_socket", "mqtt.host", "site.port", "mqtt.password_file", "updates.token_file",
     "updates.root_file", "updates.url", "updates.configuration.time", "inference.python.onnx", "inference.memory_bytes",
     "inference.models.frost.delegates", "inference.models.frost.memory_bytes", "store.max_outbox_rows"],
)  # fmt: skip
def test_what_could_cut_a_device_off_or_open_it_up_is_its_own(key: str) -> None:
    path = key.split(".")
    table: Any = 1
    for part in reversed(path):
        table = {part: table}
    assert list(find_forbidden(table)) == [tuple(path)]


@pytest.mark.parametrize(
    "table",
    [
        {"log_level": "debug"},
        {"pipelines": [{"name": "echo"}]},
        {"inference": {"threads": 2, "models": {"frost": {"max_batch": 4}}}},
        {"updates": {"shadow": {"inputs": 5}, "probation": {"time": 5}, "limits": {"max_crashes": 1}}},
        {"health": {"interval": 5}},
    ],
)
def test_what_travels_like_a_model_may_be_set(table: dict[str, Any]) -> None:
    assert list(find_forbidden(table)) == []


def test_a_table_in_place_of_a_forbidden_key_is_forbidden_even_when_it_is_empty() -> None:
    assert list(find_forbidden({"mqtt": {}})) == [("mqtt",)]


def test_an_unknown_key_is_nobodys_to_set() -> None:
    assert rule_of(("log_levle",)).owner is Owner.LOCAL


def test_remote_keys_win_and_the_others_stay() -> None:
    merged = merge(LOCAL, {"log_level": "debug", "inference": {"models": {"frost": {"deadline": 5}}}})
    assert merged["log_level"] == "debug"
    assert merged["device"] == "farm-1"
    assert merged["inference"] == {"threads": 1, "models": {"frost": {"max_batch": 8, "deadline": 5}}}
    assert LOCAL["log_level"] == "info"


def test_a_pipeline_is_changed_by_its_name_and_keeps_its_place() -> None:
    merged = merge(LOCAL, {"pipelines": [{"name": "echo", "decision": {"above": 20}}]})
    assert [item["name"] for item in merged["pipelines"]] == ["echo", "frost"]
    assert merged["pipelines"][0]["decision"] == {"reading": "t", "above": 20}
    assert merged["pipelines"][0]["source"] == LOCAL["pipelines"][0]["source"]  # type: ignore[index]


def test_a_source_is_taken_whole() -> None:
    merged = merge(LOCAL, {"pipelines": [{"name": "echo", "source": {"pipeline": "frost"}}]})
    assert merged["pipelines"][0]["source"] == {"pipeline": "frost"}


def test_a_pipeline_that_the_device_does_not_have_is_added() -> None:
    merged = merge(LOCAL, {"pipelines": [{"name": "new", "source": {"topic": "a"}}]})
    assert [item["name"] for item in merged["pipelines"]] == ["echo", "frost", "new"]


def test_two_pipelines_of_one_name_stay_two_for_the_check_to_refuse() -> None:
    merged = merge(LOCAL, {"pipelines": [{"name": "new", "model": "a"}, {"name": "new", "model": "b"}]})
    assert sorted(item.get("model", "") for item in merged["pipelines"] if item["name"] == "new") == ["a", "b"]


def test_changes_are_named_by_their_table_and_pipeline() -> None:
    before = {"log_level": "info", "inference": {"threads": 1, "spin": True}, "pipelines": [{"name": "echo", "durable": False}]}
    after = {"log_level": "debug", "inference": {"threads": 2, "spin": True}, "pipelines": [{"name": "echo", "durable": True}]}
    changed = changed_keys(before, after)
    assert changed == ("inference.threads", "log_level", "pipelines.echo")
    assert needs_restart(changed) == ("inference.threads", "pipelines.echo")


def test_another_order_of_pipelines_is_a_change() -> None:
    assert changed_keys({"pipelines": [{"name": "a"}, {"name": "b"}]}, {"pipelines": [{"name": "b"}, {"name": "a"}]}) == (
        "pipelines",
    )


def test_the_page_says_of_every_rule_whether_it_may_be_set() -> None:
    page = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    said = {path: answer for paths, answer in rows for path in paths.replace("`", "").replace(" ", "").split(",")}
    for rule in RULES:
        assert said[rule.path].strip().startswith("yes" if rule.owner is Owner.REMOTE else "no"), rule.path
        assert ("live" in said[rule.path]) == rule.live, rule.path
