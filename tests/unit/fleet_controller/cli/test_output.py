import io

from rich.console import Console

from fleet_controller.cli.device import _render_one
from fleet_controller.cli.output import table


def _print(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    meaning = "The release is less sure of its answers than the one before, beyond what is allowed."
    row = ("frost", 3, "rolled_back", "confidence", meaning, "p95 0.669 ms (was 0.785), confidence 0.501 (was 0.951)", "2 min")
    console.print(table(("model", "release", "state", "reason", "meaning", "how it does", "for"), [row, (None,) * 7]))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


def test_on_a_narrow_terminal_codes_stay_whole_and_texts_are_folded_without_a_loss() -> None:
    lines = _print(80)
    assert all(len(line) <= 80 for line in lines)
    (first,) = (line for line in lines if "frost" in line)
    assert first.split()[:4] == ["frost", "3", "rolled_back", "confidence"]
    words = " ".join(lines).split()
    assert "…" not in "".join(words)
    assert {"allowed.", "0.951)"} <= set(words)


def test_a_cell_without_a_value_is_a_dash() -> None:
    assert _print(200)[-2].split() == ["-"] * 7


def test_why_an_update_ended_has_the_width_of_the_terminal_in_device_show() -> None:
    detail = "the median confidence is 0.50, the incumbent's was 0.95; 0.57 is needed"
    update = {"model": "frost", "release": 3, "state": "rolled_back", "reason": "confidence", "detail": detail}
    device = {
        "device": "barn-1",
        "online": True,
        "labels": {},
        "last_seen": None,
        "birth": None,
        "reported": {"revision": 1, "updates": [update | {"since": "2026-11-25T10:00:00Z", "attempts": 1}]},
        "health": None,
        "desired": {"models": [], "configuration": None, "revision": 1},
        "notes": [],
    }
    console = Console(file=io.StringIO(), width=80)
    console.print(_render_one(device))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    (first,) = (line for line in lines if "rolled_back" in line)
    assert first.split()[:4] == ["frost", "3", "rolled_back", "confidence"]
    assert any("what is allowed. the median confidence is 0.50" in line for line in lines)
