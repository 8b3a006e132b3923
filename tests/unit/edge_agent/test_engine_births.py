"""The engine with a format that remembers, on the real store: meanings outlive the process, and requests go out."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.engine import Engine
from edge_agent.inference.models import Models
from edge_agent.ingest.events import Request
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.journal.batch import Priority
from edge_agent.journal.store import Store
from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    InferenceSettings,
    IngestSettings,
    PipelineSettings,
    WindowSettings,
)

INT8 = 1
UNKNOWN = "unknown_alias"


def message(seq: int, *metrics: tuple[str | None, int, int]) -> bytes:
    """(name or None, alias, value) of metrics; those with a name also have a datatype."""
    built = Payload(timestamp=1_700_000_000_000 + seq, seq=seq)
    for name, alias, value in metrics:
        built.metrics.add(name=name, alias=alias, datatype=INT8 if name else None, int_value=value % 256)
    data: bytes = built.SerializeToString()
    return data


class Life:
    """One process of the agent, on the files as they lie in `folder`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        source = IngestSettings(topic="spBv1.0/#", format="sparkplug")
        item = PipelineSettings(name="p", source=source, window=WindowSettings(size=size), durable=True)
        self.settings = AgentSettings(
            device="d",
            state_dir=str(folder),
            control_socket="",
            mqtt=BrokerSettings(),
            site=BrokerSettings(),
            pipelines=(item,),
        )
        self.requests: list[str] = []
        self.loop = Loop()
        self.store = Store(folder / "agent.db", self.settings.store, self.loop.post)
        pipeline = Pipeline(item)
        pipeline.restore(self.store.pipeline_states("p"))
        models = Models(self.loop, InferenceSettings())
        self.engine = Engine(self.settings, self.loop, self.store, [pipeline], models, on_request=self._on_request)
        self.engine.rebuild()

    def _on_request(self, requests: Sequence[Request]) -> None:
        self.requests += [request.topic for request in requests]

    def take(self, kind: str, *payloads: bytes, dup: bool = False) -> None:
        topic = f"spBv1.0/farm/{kind}/n1"
        self.engine.on_deliveries([Delivery(topic, item, 1, False, dup, 1, 0, NO_PROPERTIES) for item in payloads])
        assert self.loop.run_until(lambda: self.engine.idle, 10)

    def results(self) -> list[dict[str, Any]]:
        reader = self.store.open_reader()
        rows = reader.outbox_page("fleet", Priority.RESULT, 0)[0]
        reader.close()
        return [json.loads(row.payload)["outcome"]["values"] for row in rows]

    def killed(self, folder: Path) -> "Life":
        """The life after a kill -9: the files as they are now, while this process still has them open."""
        shutil.copytree(self.folder, folder)
        return Life(folder, int(self.settings.pipelines[0].window.size))

    def close(self) -> None:
        self.store.close()
        self.loop.close()


@pytest.fixture
def lives() -> Iterator[list[Life]]:
    made: list[Life] = []
    yield made
    for life in made:
        life.close()


def test_after_a_kill_old_data_keeps_its_meaning_and_new_data_has_the_new_one(tmp_path: Path, lives: list[Life]) -> None:
    (tmp_path / "before").mkdir()
    before = Life(tmp_path / "before", size=5)
    lives.append(before)
    before.take("NBIRTH", message(0, ("a", 1, 10), ("b", 2, 20)))
    before.take("NDATA", message(1, (None, 1, -11)), message(2, (None, 2, -21)))
    before.take("NBIRTH", message(0, ("b", 1, 30), ("a", 2, 40)))  # the aliases have changed places
    after = before.killed(tmp_path / "after")
    lives.append(after)
    assert after.engine.counters["events_rebuilt"] == 4
    after.take("NDATA", message(1, (None, 1, -31)))
    assert after.engine.counters["events_repeated"] == 0
    assert after.results() == [{"a": [10, -11, None, 40, None], "b": [20, None, -21, 30, -31]}]
    assert after.requests == []


def test_a_redelivery_after_a_kill_asks_for_nothing_and_makes_no_gap(tmp_path: Path, lives: list[Life]) -> None:
    (tmp_path / "before").mkdir()
    before = Life(tmp_path / "before", size=1)
    lives.append(before)
    sent = [message(number, (None, 1, number)) for number in range(1, 5)]
    before.take("NBIRTH", message(0, ("a", 1, 0)))
    before.take("NDATA", *sent[:3])
    after = before.killed(tmp_path / "after")
    lives.append(after)
    after.take("NDATA", *sent, dup=True)
    after.take("NDATA", sent[0], message(5, (None, 1, 5)))
    assert after.engine.counters["events_repeated"] == 4
    assert [values["a"] for values in after.results()] == [0, 1, 2, 3, 4, 5]
    assert after.requests == []


def test_requests_go_out_for_a_gap_and_for_a_dead_letter_and_not_for_a_repeat(tmp_path: Path, lives: list[Life]) -> None:
    life = Life(tmp_path, size=1)
    lives.append(life)
    life.take("NDATA", message(3, (None, 1, 3)))
    assert (life.requests, life.engine.counters[f"dead_{UNKNOWN}"]) == (["spBv1.0/farm/NCMD/n1"], 1)
    life.take("NBIRTH", message(0, ("a", 1, 0)))
    jumped = message(9, (None, 1, 9))
    life.take("NDATA", jumped, jumped)
    assert life.requests == ["spBv1.0/farm/NCMD/n1"] * 2
    assert [values["a"] for values in life.results()] == [0, 9]
