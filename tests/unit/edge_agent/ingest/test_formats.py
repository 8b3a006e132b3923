import pytest

from edge_agent.ingest import formats
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.formats import Ingest, decode
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason


def test_a_topic_of_endless_length_is_a_dead_letter() -> None:
    ingest = Ingest(IngestSettings(topic="#"))
    assert isinstance(ingest.decode("a" * 1024, b"{}"), Decoded)
    letter = ingest.decode("a" * 1025, b"{}")
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.TOO_LARGE


def test_an_unknown_zone_is_refused_when_the_decoder_is_made() -> None:
    with pytest.raises(ValueError, match="Mars/Olympus"):
        Ingest(IngestSettings(topic="#", naive_zone="Mars/Olympus"))


def test_a_retained_message_is_flagged() -> None:
    decoded = decode(IngestSettings(topic="#"), "t", b'{"x": 1, "time": 1700000000}', retain=True)
    assert isinstance(decoded, Decoded)
    assert decoded.events[0].quality == ("retained",)


def test_readings_that_repeat_a_long_text_are_a_dead_letter() -> None:
    def read(device: int) -> Decoded | DeadLetter:
        settings = IngestSettings(topic="#", device_path="d")
        return decode(settings, "t", b'{"d": "%s", "v": [%s1]}' % (b"x" * device, b"1," * 5_000))

    assert isinstance(read(3_000), Decoded)
    letter = read(4_000)
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.TOO_LARGE


def test_no_more_streams_are_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(ingest: Ingest, node: str) -> str | None:
        topic = f"spBv1.0/g/NBIRTH/{node}"
        decoded = ingest.decode(topic, b"")
        assert isinstance(decoded, Decoded)
        stream = ingest.accept(topic, decoded)
        if stream is not None:
            ingest.state(stream)
        return stream

    settings = IngestSettings(topic="#", format="sparkplug")
    monkeypatch.setattr(formats, "MAX_STREAMS", 2)
    few = Ingest(settings)
    assert [hear(few, node) for node in "abca"] == ["g/a", "g/b", None, "g/a"]
    monkeypatch.setattr(formats, "MAX_STREAMS", 100)
    monkeypatch.setattr(formats, "MAX_STATE_BYTES", 1)
    small = Ingest(settings)
    assert [hear(small, node) for node in "aba"] == ["g/a", None, "g/a"]
    later = Ingest(settings)
    later.restore({"g/a": small.state("g/a")})
    assert [hear(later, node) for node in "ba"] == [None, "g/a"]
