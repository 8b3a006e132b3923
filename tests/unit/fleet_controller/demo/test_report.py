from html.parser import HTMLParser

from fleet_controller.demo.evidence import HealthRow, Row
from fleet_controller.demo.progress import Moment, Step
from fleet_controller.demo.report import arrivals, render
from fleet_controller.demo.summary import Percentiles, Summary, TableRow
from fleet_controller.demo.told import Told

VOID = {"meta"}
DETAIL = f"a < b {'0a' * 32}"


class Checker(HTMLParser):
    """Notes unbalanced tags and everything that would be loaded from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.wrong += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href")]
        if tag in ("script", "link", "img", "iframe"):
            self.wrong.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.wrong.append(f"/{tag}")


def row(received: float) -> Row:
    return Row("farm-1", "frost", "id", "window", "e", "frost", "2.0.0", 2, received)


def summary() -> Summary:
    return Summary(
        passed=False,
        problems=["farm-1 <b>attests</b>"],
        missing=0,
        repeated=0,
        unexpected=0,
        duration_s=100.0,
        broker="mosquitto",
        started="2026-01-01T00:00:00+00:00",
        devices={"farm-1": {"events_sent": 3, "results_received": 2, "attested": {}, "pipelines": {}}},
        refusals=[
            {"device": "farm-1", "model": "frost", "version": "3.0.0", "reason": "golden_mismatch", "detail": DETAIL},
            {"device": "farm-1", "model": "frost", "version": "4.0.0", "reason": "of_a_newer_agent", "detail": None},
        ],
        answers_during_refusals={"farm-1": {"2.0.0": 4}},
        taken_back={
            "device": "farm-1",
            "model": "frost",
            "version": "5.0.0",
            "reason": "confidence",
            "meaning": "less sure",
            "detail": "0.5 < 0.9",
            "evidence": {"candidate": {"inferences": 22, "confidence": 0.5}, "incumbent": {"confidence": 0.9}},
            "offline_s": 9.5,
            "answers_published": 24,
            "rollout": 7,
            "rollout_state": "paused",
            "untouched": ["farm-2"],
        },
        link_cut={"seconds": 15.0, "events_sent_meanwhile": 5, "results_waiting_on_devices": {"farm-1": 5}},
        latency_ms={"end_to_end": Percentiles(1.0, 2.0, 3.0), "on_device": {"farm-1/frost": Percentiles(None, None, None)}},
        table=[
            TableRow(
                device="farm-1",
                online=True,
                model="frost",
                version="2.0.0",
                results_per_minute=60.0,
                p50_ms=None,
                p95_ms=None,
                agent_memory_bytes=1,
                worker_memory_bytes=1,
                queue=0,
            )
        ],
        steps=[Step(number=1, title="A & B", at_s=0.0, seen=[Moment(at_s=1.0, text="`fleet init` <done>")])],
    )


def page() -> str:
    told = Told(cut=(1050.0, 1065.0), marks=[(1010.0, "version 2")], outboxes=[(1060.0, "farm-1", 5)], sensors_stopped=1090.0)
    model = {"model": "frost", "p50_ms": 1.0, "p95_ms": 2.0}
    health = [HealthRow("farm-1", 1020.0, {"models": [model]})]
    return render(summary(), told, [row(1011.0), row(1012.0), row(1070.0)], health, 1000.0)


def test_the_page_is_well_formed_and_loads_nothing_from_outside() -> None:
    checker = Checker()
    checker.feed(page())
    assert checker.wrong == []
    assert checker.open == []


def test_texts_are_escaped_and_codes_are_explained() -> None:
    text = page()
    assert "farm-1 &lt;b&gt;attests" in text
    assert "a &lt; b 0a0a0a0a0a0a…" in text
    assert "<code>fleet init</code> &lt;done&gt;" in text
    assert "differ from the expected ones" in text
    assert "took frost 5.0.0 back by itself after 22 inferences" in text
    assert "0.5 &lt; 0.9" in text


def test_a_bin_without_results_is_zero_and_not_left_out() -> None:
    (line,) = arrivals([row(1001.0), row(1002.0), row(1012.0)], 1000.0)
    assert line.points == [(2.5, 2), (7.5, 0), (12.5, 1)]
