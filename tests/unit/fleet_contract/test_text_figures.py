"""What is counted of a text."""

import pytest

from fleet_contract.text_figures import LOOKED_AT, script_of, top_words, unknown_share, words_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Frost on the leaves", "latin"),
        ("Straße überschwemmt, Bäume quer", "latin"),
        ("آفت روی برگ‌ها", "arabic"),
        ("Заморозки на листьях", "cyrillic"),
        ("葉に霜が降りた", "kana"),
        ("叶子上有霜", "han"),
        ("잎에 서리가 내렸다", "hangul"),
        ("पत्तियों पर पाला", "devanagari"),
        ("παγετός στα φύλλα", "greek"),
        ("ᚠᚢᚦ", "other"),
        ("12.5 !!", "none"),
        ("", "none"),
    ],
)
def test_the_script_of_most_letters_stands_for_the_language(text: str, script: str) -> None:
    assert script_of(text) == script


def test_a_mixed_text_is_of_the_script_that_most_letters_have() -> None:
    assert script_of("آفت روی برگ‌ها و ساقه ok") == "arabic"
    assert script_of("leaf and stem and root و") == "latin"


def test_words_are_lower_case_without_digits_and_signs_and_only_those_of_the_start() -> None:
    assert words_of("The pump, No. 7: LEAKS!") == ["the", "pump", "no", "leaks"]
    assert words_of("a" + " " * LOOKED_AT + "b") == ["a"]


def test_unknown_words_are_a_share_and_no_words_are_no_share() -> None:
    assert unknown_share("the pump leaks badly", {"the", "pump"}) == 0.5
    assert unknown_share("42", {"the"}) is None


def test_the_top_words_are_those_of_the_most_texts() -> None:
    assert top_words(["b b b", "a", "a c"], 2) == ("a", "b")
