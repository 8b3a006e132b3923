from pathlib import Path

import pytest

from edge_agent.durable import move_file_durably, replace_folder_durably, write_file_durably


def test_a_write_replaces_the_whole_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_file_durably(path, b"first")
    write_file_durably(path, b"2")
    assert path.read_bytes() == b"2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_file_durably(path, b"old")
    with pytest.raises(TypeError):
        write_file_durably(path, 5)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


def test_a_file_moves_to_its_final_name(tmp_path: Path) -> None:
    source = tmp_path / "part"
    source.write_bytes(b"bytes")
    (tmp_path / "final").mkdir()
    move_file_durably(source, tmp_path / "final" / "bundle")
    assert not source.exists()
    assert (tmp_path / "final" / "bundle").read_bytes() == b"bytes"


def test_a_folder_is_replaced_with_nothing_of_the_old_one_left(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").write_bytes(b"x")
    source = tmp_path / "new"
    source.mkdir()
    (source / "fresh").write_bytes(b"y")
    replace_folder_durably(source, target)
    assert [entry.name for entry in target.iterdir()] == ["fresh"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
