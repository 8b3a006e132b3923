import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_contract.topics import (
    Down,
    DownTopic,
    Up,
    UpTopic,
    check_filter,
    down,
    filter_matches,
    filters_overlap,
    parse,
    up,
)

alnum = string.ascii_letters + string.digits
devices = st.builds(
    lambda first, rest: first + rest, st.sampled_from(alnum), st.text(alphabet=alnum + "._-", max_size=62)
).filter(lambda device: not device.endswith("-site"))
names = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
levels = st.text(alphabet="abc", max_size=2)
topics = st.lists(levels, min_size=1, max_size=5).map("/".join)
filters = st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from(["/".join(parts), "/".join([*parts, "#"])])
)


@given(devices, st.sampled_from([item for item in Up if item is not Up.RESULT]))
def test_an_up_topic_parses_to_what_it_was_built_from(device: str, channel: Up) -> None:
    assert parse(up(device, channel)) == UpTopic(device, channel)


@given(devices, names)
def test_a_result_topic_keeps_its_pipeline(device: str, pipeline: str) -> None:
    topic = up(device, Up.RESULT, pipeline)
    assert parse(topic) == UpTopic(device, Up.RESULT, pipeline)
    assert str(parse(topic)) == topic


@given(devices, st.sampled_from(list(Down)))
def test_a_down_topic_parses_to_what_it_was_built_from(device: str, channel: Down) -> None:
    assert parse(down(device, channel)) == DownTopic(device, channel)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_with_a_value_error(text: str) -> None:
    try:
        parsed = parse("sh/v1/" + text)
    except ValueError:
        return
    assert str(parsed) == "sh/v1/" + text


@pytest.mark.parametrize("device", ["", "a/b", "a+", "#", "-a", "a" * 64, "farm-1-site", "ä"])
def test_a_device_id_that_would_break_a_topic_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="device id"):
        down(device, Down.ACK)


def test_a_result_names_its_pipeline_and_nothing_else_does() -> None:
    with pytest.raises(ValueError, match="pipeline"):
        up("d", Up.RESULT)
    with pytest.raises(ValueError, match="pipeline"):
        up("d", Up.HEALTH, "frost")


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("farm/+/weather", "farm/north/weather", True),
        ("farm/+/weather", "farm/weather", False),
        ("farm/#", "farm", True),
        ("farm/#", "farm/a/b", True),
        ("+", "a/b", False),
        ("#", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("a/+", "a/", True),
    ],
)
def test_filters_match_as_mqtt_says(pattern: str, topic: str, matches: bool) -> None:
    assert filter_matches(pattern, topic) is matches


@given(filters, filters, topics)
def test_filters_that_match_one_topic_overlap(one: str, other: str, topic: str) -> None:
    if filter_matches(one, topic) and filter_matches(other, topic):
        assert filters_overlap(one, other)
        assert filters_overlap(other, one)


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [
        ("#", True),
        ("+/v1/#", True),
        ("sh/v1/x/up/health", True),
        ("sh/+", True),
        ("farm/#", False),
        ("sh", False),
        ("$SYS/#", False),
    ],
)
def test_filters_that_cover_the_contract_are_seen(pattern: str, covers: bool) -> None:
    assert filters_overlap(pattern, "sh/v1/#") is covers


@pytest.mark.parametrize("pattern", ["", "a/#/b", "a#", "a+/b", "a\0"])
def test_a_wrong_filter_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="topic filter"):
        check_filter(pattern)
