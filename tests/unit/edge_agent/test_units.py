import pytest

from edge_agent.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30s", 30), ("10 min", 600), ("1.5h", 5400), ("7d", 604800), ("5", 5), (4, 4)]
)
def test_durations_are_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65536), ("1MB", 10**6), ("2 GiB", 2 * 1024**3), ("10", 10), (7, 7)])
def test_sizes_are_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "s", "-1s", "5 years", "1e3s"])
def test_any_other_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="30s"):
        parse_duration(text)


def test_half_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_size("0.5B")
