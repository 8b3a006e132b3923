import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_controller.api.ranges import RangeNotSatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=2-", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=5-99", (5, 9)),
        (None, None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
    ],
)
def test_a_range_header_means_what_the_rfc_says(header: str | None, wanted: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == wanted


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=-1", 0), ("bytes=0-", 0)])
def test_a_range_outside_the_file_is_not_satisfiable(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, size)


@given(st.text() | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 10**12))
def test_any_header_gives_a_range_inside_the_file_or_none_or_is_refused(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found[0] <= found[1] < size
