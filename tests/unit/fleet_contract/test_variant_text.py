from fleet_contract.variant_text import describe_choice


def test_the_choice_is_told_with_why_and_why_not() -> None:
    update = {"variant": "int8", "picked": "it costs least: 1 ms", "not_picked": {"tflite": "no runtime", "fp32": "slower"}}
    assert describe_choice(update) == "variant int8: it costs least: 1 ms; not fp32: slower; not tflite: no runtime"


def test_where_there_was_no_choice_nothing_is_told() -> None:
    assert describe_choice({"variant": None, "picked": None, "not_picked": {}}) == ""
    assert describe_choice({}) == ""
