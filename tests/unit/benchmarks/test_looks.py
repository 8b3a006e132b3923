"""Looks at a process tree, as the shell writes them and as they are read."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import looks
from benchmarks.looks import Look, cpu_percent, parse

WATCH = Path(looks.__file__).with_name("footprint_watch.sh")


def test_a_line_holds_memory_and_cpu_of_every_process_of_the_tree() -> None:
    assert parse("100.50 2 1000:7 500:3\n") == [Look(100.5, 2, (1.024, 0.512), 10)]


def test_a_process_that_has_ended_is_no_process_of_no_memory() -> None:
    with pytest.raises(ValueError, match="had ended before the look at 100"):
        parse("100.5 0\n")


def test_cpu_counts_from_the_first_look_to_the_last() -> None:
    seen = parse("100 0 1:50 1:10\n105 0 1:900 1:10\n110 0 1:60 1:20\n")
    assert cpu_percent(seen, ticks_per_second=100) == pytest.approx(2.0)


def test_the_shell_sees_the_children_and_who_else_maps_the_environment(tmp_path: Path) -> None:
    files = tmp_path / "environment"
    files.write_text(f"{Path(sys.executable).resolve()}\n")
    # This test is a process of that environment outside the tree, its child's child one inside.
    inner = [sys.executable, "-c", "import time; time.sleep(60)"]
    tree = ["sh", "-c", f"{shlex.join(inner)} & wait"]
    script = f". {shlex.quote(str(WATCH))}\n" + shlex.join(["watch", str(tmp_path), "1", "0", "1", str(files), *tree])
    subprocess.run(["sh", "-c", script], check=True, timeout=60)
    seen = parse((tmp_path / "looks").read_text())
    assert seen
    assert all(len(look.memory_mb) == 2 for look in seen)
    assert all(min(look.memory_mb) > 0 for look in seen)
    assert all(look.others >= 1 for look in seen)
