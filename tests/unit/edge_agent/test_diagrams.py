"""The pages that are generated from the tables of the state machines."""

from pathlib import Path

import pytest

from edge_agent import diagrams

DOCS = Path(__file__).parents[3] / "docs"


def test_the_pages_in_the_documents_are_current() -> None:
    assert diagrams.main(["--check", str(DOCS)]) == 0


@pytest.mark.parametrize("page", [page.file for page in diagrams.PAGES])
def test_a_page_that_is_not_current_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], page: str) -> None:
    assert diagrams.main([str(tmp_path)]) == 0
    assert diagrams.main(["--check", str(tmp_path)]) == 0
    (tmp_path / page).write_text("old")
    assert diagrams.main(["--check", str(tmp_path)]) == 1
    assert f"{page} is not current" in capsys.readouterr().err


def test_a_folder_is_needed() -> None:
    assert diagrams.main([]) == 2
