from pathlib import Path
from typing import Any

import pytest

from edge_agent.pipeline_case import CaseError, compare, find_cases, read_case

EVENT = '[[event]]\ntopic = "farm/a"\npayload = { id = "a", time = 2026-01-01T00:00:00Z, x = 1 }\n'
EXPECT = '[[expect]]\nsource = "a"\noutcome = { score = 0.5, values = { x = 1 } }\nquality = ["no_time"]\n'
RESULT: dict[str, Any] = {
    "source": "a",
    "outcome": {"score": 0.5000004, "values": {"x": 1.0, "y": 2}},
    "quality": ["no_time"],
    "pipeline": "p",
}


def case(folder: Path, text: str) -> Any:
    path = folder / "case.toml"
    path.write_text(text)
    return read_case(path)


def test_a_case_passes_when_all_that_it_names_is_as_expected(tmp_path: Path) -> None:
    made = case(tmp_path, f'pipeline = "p"\n{EVENT}{EXPECT}')
    assert made.events[0].payload == b'{"id":"a","time":"2026-01-01T00:00:00Z","x":1}'
    assert compare(made, [RESULT], []) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source": "b"}, "result 0: source is 'b', expected is 'a'"),
        ({"outcome": {"score": 0.51, "values": {"x": 1}}}, "result 0: outcome.score is 0.51, expected is 0.5"),
        ({"outcome": {"values": {"x": 1}}}, "result 0: outcome.score is missing"),
        ({"outcome": {"score": 0.5, "values": {"x": True}}}, "result 0: outcome.values.x is True, expected is 1"),
        ({"quality": []}, "result 0: quality is [], expected is ['no_time']"),
    ],
)
def test_each_difference_is_named_with_its_place(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    assert compare(case(tmp_path, f'pipeline = "p"\n{EVENT}{EXPECT}'), [RESULT | change], []) == [told]


def test_missing_and_surplus_results_are_told(tmp_path: Path) -> None:
    made = case(tmp_path, f'pipeline = "p"\n{EVENT}{EXPECT}')
    assert compare(made, [], []) == ["1 results expected, there are 0"]
    assert compare(made, [RESULT, RESULT], [])[0].startswith("1 results expected, there are 2; the first beyond: {")


def test_dead_letters_are_counted_where_the_case_says_how_many(tmp_path: Path) -> None:
    made = case(tmp_path, f'pipeline = "p"\ndead_letters = 0\n{EVENT}')
    assert compare(made, [RESULT], []) == []
    assert compare(made, [], ["t: not_json: x"]) == ["0 dead letters expected, there are 1: t: not_json: x"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pipeline = ", "not valid TOML"),
        (f'pipeline = "p"\nbundel = "x"\n{EVENT}{EXPECT}', "unknown key 'bundel'"),
        (f"{EVENT}{EXPECT}", "pipeline: the name"),
        (f'pipeline = "p"\n{EVENT}', "cannot fail"),
        (f'pipeline = "p"\n{EXPECT}', "either events"),
        (f'pipeline = "p"\nevents = "x.jsonl"\n{EVENT}{EXPECT}', "either events"),
        (f'pipeline = "p"\n[[event]]\ntopic = "t"\n{EXPECT}', "payload"),
        (f'pipeline = "p"\nexpect = "none.jsonl"\n{EVENT}', "--update"),
        (f'pipeline = "p"\ntolerance = -1\n{EVENT}{EXPECT}', "tolerance"),
        (f'pipeline = "p"\ndead_letters = "x"\n{EVENT}{EXPECT}', "dead_letters"),
    ],
)
def test_a_case_that_cannot_be_read_says_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CaseError, match=f"case.toml.*{told}"):
        case(tmp_path, text)


def test_a_recording_and_a_file_of_results_lie_beside_the_case(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text('{"topic": "farm/a", "payload": "x"}\n')
    (tmp_path / "r.jsonl").write_text('{"source": "a"}\n\n')
    made = case(tmp_path, 'pipeline = "p"\nevents = "e.jsonl"\nexpect = "r.jsonl"\n')
    assert [event.payload for event in made.events] == [b"x"]
    assert made.expect == ({"source": "a"},)


def test_cases_are_found_below_the_folder_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/c.toml", "a.toml", "a.jsonl"):
        (tmp_path / name).touch()
    assert find_cases(tmp_path) == [tmp_path / "a.toml", tmp_path / "b" / "c.toml"]
    with pytest.raises(OSError, match="not a folder"):
        find_cases(tmp_path / "none")
