from rich.console import Console

from fleet_controller.demo.progress import Progress


def test_what_was_seen_is_kept_for_the_report_without_the_terminals_colours() -> None:
    progress = Progress(Console(quiet=True))
    with progress.step("A step"):
        progress.saw("[yellow]farm-1 refused frost[/yellow] (why)")
    assert [moment.text for step in progress.steps for moment in step.seen] == ["farm-1 refused frost (why)"]
