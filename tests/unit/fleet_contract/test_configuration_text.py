"""One line for people."""

from typing import Any

import pytest

from fleet_contract import configuration_text
from fleet_contract.configuration_text import describe_agent, describe_configuration

USED = {"name": "farm", "revision": 2, "running_name": "farm", "running_revision": 2, "state": "committed", "reason": None}


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (None, ""),
        (USED, "farm@2, committed"),
        (USED | {"name": "", "revision": 0, "running_name": "", "running_revision": 0}, "the own file alone, committed"),
        (
            USED | {"revision": 3, "state": "rolled_back", "reason": "pipeline_silent", "detail": "echo"},
            "farm@2; farm@3 is rolled_back; pipeline_silent: echo",
        ),
        (USED | {"state": "applying", "restart": ["pipelines.echo"]}, "farm@2, applying; waits for a restart: pipelines.echo"),
    ],
)
def test_what_is_in_use_comes_first(report: dict[str, Any] | None, text: str) -> None:
    assert describe_configuration(report) == text


def test_an_agent_that_speaks_only_older_contracts_is_called_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    birth = {"agent_version": "0.1.0", "contract_low": 1, "contract_high": 1}
    assert describe_agent(birth) == "0.1.0"
    assert describe_agent({}) is None
    monkeypatch.setattr(configuration_text, "CONTRACT_LOW", 2)
    assert "too old" in str(describe_agent(birth))
