import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_controller.demo.plots import HEIGHT, WIDTH, Line, Mark, Plot, draw, nice_ticks

NUMBERS = st.floats(min_value=0.001, max_value=1e7, allow_nan=False)


@given(top=NUMBERS)
def test_ticks_reach_the_top_and_are_few(top: float) -> None:
    ticks = nice_ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] >= top
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(("top", "expected"), [(0, [0, 1]), (4, [0, 1, 2, 3, 4]), (100, [0, 25, 50, 75, 100])])
def test_ticks_are_round_numbers(top: float, expected: list[float]) -> None:
    assert nice_ticks(top) == expected


def test_an_empty_plot_is_still_a_picture() -> None:
    assert ElementTree.fromstring(draw(Plot("ms", []))).tag == "svg"


def test_names_are_text_and_never_markup() -> None:
    drawing = draw(Plot("<ms>", [Line("a & b", [(0, 1), (1, 2)])], [Mark(0.5, "<cut>", 0.7)]))
    texts = [element.text for element in ElementTree.fromstring(drawing).iter("text")]
    assert {"<ms>", "a & b", "<cut>"} <= set(texts)


@given(points=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_every_point_lies_inside_the_picture(points: list[tuple[float, float]]) -> None:
    (curve,) = ElementTree.fromstring(draw(Plot("ms", [Line("a", points)]))).iter("polyline")
    for pair in curve.attrib["points"].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_names_of_neighbouring_cuts_do_not_stand_on_one_line() -> None:
    drawing = draw(Plot("ms", [Line("a", [(0, 1), (9, 2)])], [Mark(1, "one", 2), Mark(2.1, "other", 4)]))
    heights = {element.text: element.attrib["y"] for element in ElementTree.fromstring(drawing).iter("text")}
    assert heights["one"] != heights["other"]


def test_no_shape_covers_the_name_of_a_cut() -> None:
    drawing = draw(Plot("ms", [Line("a", [(0, 1), (9, 2)])], [Mark(1, "one", 2), Mark(2.1, "other", 4)]))
    assert drawing.rindex("<rect") < drawing.index(">one<")
