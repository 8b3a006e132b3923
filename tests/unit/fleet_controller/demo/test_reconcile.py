from fleet_controller.demo.evidence import Row
from fleet_controller.demo.reconcile import compare


def row(result_id: str, window: str = "", device: str = "farm-1", pipeline: str = "frost") -> Row:
    return Row(
        device=device,
        pipeline=pipeline,
        result_id=result_id,
        window=window or result_id,
        last_event=None,
        model="frost",
        version="2.0.0",
        release=2,
        received=0.0,
    )


def test_what_was_expected_and_came_once_leaves_nothing_to_complain_about() -> None:
    found = compare("farm-1", "frost", 9, ["a", "b", "c"], [row("c"), row("a"), row("b")])
    assert (found.expected, found.found, found.missing, found.repeated, found.unexpected) == (3, 3, 0, 0, 0)


def test_an_expected_id_without_a_row_is_missing() -> None:
    assert compare("farm-1", "frost", 9, ["a", "b"], [row("a")]).missing == 1


def test_a_row_with_an_id_that_nothing_leads_to_is_unexpected() -> None:
    assert compare("farm-1", "frost", 9, ["a"], [row("a"), row("x")]).unexpected == 1


def test_a_second_answer_for_the_same_window_is_repeated_even_under_another_id() -> None:
    found = compare("farm-1", "frost", 9, ["a"], [row("a", "window"), row("x", "window")])
    assert (found.repeated, found.unexpected) == (1, 1)


def test_the_same_id_stored_twice_is_repeated() -> None:
    assert compare("farm-1", "frost", 9, ["a"], [row("a"), row("a")]).repeated == 1


def test_rows_of_other_devices_and_pipelines_do_not_count() -> None:
    rows = [row("a", device="farm-2"), row("a", pipeline="leak")]
    found = compare("farm-1", "frost", 9, ["a"], rows)
    assert (found.found, found.missing, found.unexpected) == (0, 1, 0)
