import pytest

from fleet_contract.configuration import ConfigurationRevision, configuration_path, is_older, parse_revision


def test_a_revision_has_its_own_path() -> None:
    assert configuration_path("orchards", 3) == "config/orchards/3.toml"


@pytest.mark.parametrize(("name", "revision"), [("orchards", 0), ("../root", 1), ("a/b", 1), ("", 1)])
def test_a_path_that_leads_elsewhere_is_refused(name: str, revision: int) -> None:
    with pytest.raises(ValueError):
        configuration_path(name, revision)


def test_the_signed_record_is_read() -> None:
    signed = parse_revision({"name": "orchards", "revision": 3, "contract_low": 2, "agent": "0.2.0", "later": True})
    assert signed == ConfigurationRevision(name="orchards", revision=3, contract_low=2, agent="0.2.0")


@pytest.mark.parametrize(
    "custom",
    [None, {}, {"name": "orchards"}, {"name": "orchards", "revision": 0}, {"name": "o", "revision": 1, "agent": "newest"}],
)
def test_a_signed_record_that_is_none_is_refused(custom: object) -> None:
    with pytest.raises(ValueError):
        parse_revision(custom)


@pytest.mark.parametrize(
    ("version", "asked", "older"),
    [
        ("0.1.0", "", False),
        ("0.1.0", "0.1", False),
        ("0.1", "0.1.0", False),
        ("0.1.0", "0.1.1", True),
        ("0.10.0", "0.9.9", False),
        ("1.0.0rc1", "1.0.1", True),
        ("unknown", "0.1", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, asked: str, older: bool) -> None:
    assert is_older(version, asked) is older
