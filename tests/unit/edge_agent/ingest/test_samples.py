from edge_agent.ingest.events import Reading, Text
from edge_agent.ingest.samples import to_samples


def test_readings_of_one_device_and_time_are_joined() -> None:
    time = "2024-01-01T00:00:01Z"
    samples = to_samples(
        [
            Reading("a", "temperature", 1.5, "Cel", time, "t"),
            Reading("b", "temperature", 2.5, "Cel", time, "t"),
            Reading("a", "relative_humidity", 40, "%RH", time, "h"),
            Reading("a", "temperature", 9.5, "Cel", None, "t", ("no_time",)),
        ]
    )
    assert [(sample.device, sample.time, sample.values) for sample in samples] == [
        ("a", 1704067201.0, {"t": 1.5, "h": 40}),
        ("b", 1704067201.0, {"t": 2.5}),
        ("a", None, {"t": 9.5}),
    ]
    assert samples[0].units == {"t": "Cel", "h": "%RH"}
    assert samples[2].quality == ("no_time",)


def test_a_value_that_comes_twice_at_one_time_replaces_none() -> None:
    sent = (("t", 1), ("h", 2), ("t", 3), ("h", 4), ("x", 5))
    readings = [Reading("a", name, value, None, None, name) for name, value in sent]
    assert [sample.values for sample in to_samples(readings)] == [{"t": 1, "h": 2}, {"t": 3, "h": 4, "x": 5}]


def test_a_sample_carries_the_flags_of_all_its_readings() -> None:
    flags: list[tuple[str, ...]] = [("retained",), ("retained", "null"), ("historical",)]
    readings = [Reading("a", "x", 1, None, None, f"x{number}", quality) for number, quality in enumerate(flags)]
    assert [sample.quality for sample in to_samples(readings)] == [("retained", "null", "historical")]


def test_each_text_is_a_sample_of_its_own() -> None:
    samples = to_samples([Text("a", "one", None, "text"), Text("a", "two", None, "text")])
    assert [sample.text for sample in samples] == ["one", "two"]
