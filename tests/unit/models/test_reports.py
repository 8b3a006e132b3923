"""The data set of `reports` and its split."""

from fleet_controller.demo.recordings import reports
from models.reports import LABELS, is_held_out, written_reports


def test_the_shipped_file_is_what_the_sentences_give() -> None:
    assert reports() == tuple(written_reports())


def test_no_sentence_and_no_family_is_in_both_parts() -> None:
    held_out = [row for row in reports() if is_held_out(row)]
    trained = [row for row in reports() if not is_held_out(row)]
    assert not {row.family for row in held_out} & {row.family for row in trained}
    assert not {row.text for row in held_out} & {row.text for row in trained}


def test_both_parts_have_every_label_in_both_languages() -> None:
    wanted = {(label, language) for label in LABELS for language in ("en", "fa")}
    for part in (True, False):
        assert {(row.label, row.language) for row in reports() if is_held_out(row) is part} == wanted
