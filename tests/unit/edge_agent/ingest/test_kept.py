from edge_agent.ingest.events import Decoded, Reading, Text
from edge_agent.ingest.kept import from_kept, to_kept


def test_the_journal_gives_back_what_a_message_meant() -> None:
    events = (
        Reading("g/n", "temperature", 1.5, "Cel", "2026-01-01T00:00:00Z", "t", ("historical",), {"depth_cm": 10}),
        Text("g/n", "ein Text", None, "note", ("no_time",)),
        Reading("g/n", "counter", 2**64 - 1, None, None, "c"),
        Reading("g/n", "contact", False, None, None, "d"),
    )
    decoded = Decoded(events, "7-12", "2026-01-01T00:00:00Z", state={"seq": 3}, stored=True)
    again = from_kept(to_kept(decoded))
    assert again == Decoded(events, "7-12", "2026-01-01T00:00:00Z")
    assert type(again.events[3]) is Reading
    assert again.events[3].value is False
