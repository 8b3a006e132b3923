"""docs/bundles.md says what the contract says."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from fleet_contract.bundle import MAX_TEXT_BYTES, MAX_TOKENIZER_BYTES
from fleet_contract.manifest import (
    MAX_TOKENS,
    Activation,
    GoldenSample,
    InputKind,
    Manifest,
    Pooling,
    Requirements,
    Tokens,
    parse_manifest,
)

PAGE = (Path(__file__).parents[2] / "docs" / "bundles.md").read_text(encoding="utf-8")


def test_every_key_of_the_manifest_has_its_row_and_no_other_has() -> None:
    rows = PAGE.split("## All keys of `model.toml`")[1].split("\n## ")[0].splitlines()
    named = [key for row in rows if row.startswith("| `") for key in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(Manifest.__struct_fields__)


def test_every_key_of_the_requirements_has_its_row_and_no_other_has() -> None:
    rows = PAGE.split("## `requirements`")[1].split("\n## ")[0].splitlines()
    named = [key for row in rows if row.startswith("| `") for key in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(Requirements.__struct_fields__)


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_of_manifests_are_right(example: str) -> None:
    manifest = parse_manifest(example.encode())
    assert manifest.width == (384 if manifest.kind is InputKind.TEXT else None)
    assert set(tomllib.loads(example)) <= set(Manifest.__struct_fields__)


def test_the_example_of_golden_samples_is_right() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    samples = msgspec.json.decode(example, type=tuple[GoldenSample, ...])
    assert [sample.tensors["image"].shape for sample in samples[2:]] == [(3, 1, 2), (4,)]


def test_kinds_choices_and_bounds_are_those_of_the_contract() -> None:
    for choice in (*Pooling, *Activation):
        assert f'"{choice.value}"' in PAGE
    for kind in InputKind:
        assert f"| `{kind.value}` |" in PAGE
    assert f"at most {MAX_TOKENIZER_BYTES // 1024**2}\nMiB" in PAGE
    assert f"may have {MAX_TEXT_BYTES // 1024**2} MiB" in PAGE
    assert f"| `tokens` | `max_length = {Tokens().max_length}` | up to {MAX_TOKENS} |" in PAGE
