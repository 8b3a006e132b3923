"""The outputs of all pipelines: adds what they publish on the site broker to the commit that holds the result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from edge_agent.journal.batch import SITE, Batch, OutboxRow, Priority, Publishing
from edge_agent.outputs.announcements import Announcements, Announcer, Change
from edge_agent.outputs.cloudevents import to_event
from edge_agent.outputs.homeassistant import FIXED, READING, Entity, birth_topic, find_entities, to_state
from edge_agent.outputs.port import Units
from edge_agent.outputs.topics import fill, status_topic
from edge_agent.pipeline.windows import LIVE
from edge_agent.settings import OutputKind, OutputSettings, PipelineSettings
from fleet_contract.messages import Result

RETAINED: Final = Publishing(retain=True)
AVAILABILITY_KEY: Final = "outputs.availability"
"""The topic, in agent.db, on which the broker keeps our availability."""


class Outputs:
    """Used on the loop's thread.

    Args:
        stored: the values of agent.db.
    """

    def __init__(self, device: str, pipelines: Sequence[PipelineSettings], stored: Mapping[str, bytes]) -> None:
        self._device = device
        self._pipelines = {item.name: item for item in pipelines}
        self._announcements = Announcements(stored)
        self._availability_told = stored.get(AVAILABILITY_KEY)
        self._announcers = {
            item.name: (
                Announcer(device, item.name, output.discovery_prefix, output.expire_after, is_retained(output)),
                output,
            )
            for item in pipelines
            for output in item.outputs
            if output.kind is OutputKind.HOMEASSISTANT
        }
        self.counters: Counter[str] = Counter()

    @property
    def availability(self) -> str | None:
        """The topic on which the agent says whether it is there; None where nobody asks."""
        return status_topic(self._device) if self._announcers else None

    @property
    def birth_topics(self) -> frozenset[str]:
        """Where Home Assistant says that it has started."""
        return frozenset(birth_topic(announcer.prefix) for announcer, _ in self._announcers.values())

    def add(self, result: Result, payload: bytes, units: Units, batch: Batch, *, urgent: bool) -> None:
        """Add what the outputs of the result's pipeline publish; `payload` is the result message."""
        pipeline = self._pipelines[result.pipeline]
        is_newest = not result.revision and result.timeliness == LIVE
        for output in pipeline.outputs:
            topic = self._topic(output, pipeline.name, result.source)
            if topic is None:
                self.counters["outputs_refused"] += 1
                continue
            # what the broker keeps, and what entities say, is the newest: a backlog and a revision tell of older windows
            retain = is_newest and is_retained(output)
            how: Publishing | None = RETAINED if retain else None
            if output.kind is OutputKind.HOMEASSISTANT:
                if is_newest:
                    self._announce(pipeline, output, result, topic, units, batch)
                    _add(batch, topic, to_state(result, pipeline.model is not None), how, urgent=False)
            elif output.kind is OutputKind.CLOUDEVENTS:
                event = to_event(self._device, result, payload, output.mode)
                how = Publishing(retain, event.content_type, event.user)
                _add(batch, topic, event.payload, how, urgent=urgent)
            else:
                _add(batch, topic, payload, how, urgent=urgent)

    def _topic(self, output: OutputSettings, pipeline: str, source: str) -> str | None:
        try:
            return fill(output.topic, self._device, pipeline, source)
        except ValueError:
            return None

    def _announce(
        self, pipeline: PipelineSettings, output: OutputSettings, result: Result, topic: str, units: Units, batch: Batch
    ) -> None:
        announcer = self._announcers[pipeline.name][0]
        if self._announcements.is_full_for(announcer.topic(result.source)):
            self.counters["outputs_unannounced"] += 1
            return
        seen = find_entities(result, pipeline.model is not None, output.readings, units())
        if pipeline.decision.alarm is not None:
            seen["alarm"] = FIXED["alarm"]
        change = self._announcements.see(announcer, result.source, topic, seen)
        if change is not None:
            _add_change(batch, change)

    def reconcile(self) -> Batch:
        """At the start: withdraw what is configured no more, and announce again what is configured otherwise than it was."""
        batch = Batch()
        for topic, known in self._announcements.items():
            found = self._announcers.get(known.pipeline)
            if found is None or found[0].topic(known.source) != topic:
                _add_change(batch, self._announcements.withdraw(topic))
                continue
            announcer, output = found
            pipeline = self._pipelines[known.pipeline]
            kept = {key: entity for key, entity in known.entities.items() if _is_wanted(key, entity, pipeline, output)}
            state_topic = self._topic(output, pipeline.name, known.source)
            if kept and state_topic is not None:
                change = self._announcements.renew(topic, announcer, state_topic, kept)
            else:
                change = self._announcements.withdraw(topic)
            if change is not None:
                _add_change(batch, change)
        told = None if self._availability_told is None else self._availability_told.decode()
        if told != self.availability:
            if told is not None:
                _add(batch, told, b"", RETAINED, urgent=False)
            batch.values[AVAILABILITY_KEY] = None if self.availability is None else self.availability.encode()
        return batch

    def repeat(self, birth: str | None = None) -> Batch:
        """Every announcement once more: for a Home Assistant that has started (its birth topic), or for a new broker."""
        batch = Batch()
        for topic, known in self._announcements.items():
            announcer = self._announcers[known.pipeline][0]
            if birth is None or birth_topic(announcer.prefix) == birth:
                _add_change(batch, self._announcements.repeat(topic, announcer))
        return batch


def is_retained(output: OutputSettings) -> bool:
    """Whether the broker keeps an output's last message.

    Home Assistant advises against it with `expire_after`: what the broker keeps would look new after its restart.
    """
    if output.retain is not None:
        return output.retain
    return output.kind is OutputKind.HOMEASSISTANT and output.expire_after is None


def _is_wanted(key: str, entity: Entity, pipeline: PipelineSettings, output: OutputSettings) -> bool:
    """Whether the pipeline can still have this entity."""
    decision = pipeline.decision
    if key.startswith(READING):
        return pipeline.model is None and (not output.readings or entity.name in output.readings)
    if key == "alarm":
        return decision.alarm is not None
    if key == "state":
        return pipeline.model is not None or decision.above is not None or decision.below is not None
    return pipeline.model is not None


def _add(batch: Batch, topic: str, payload: bytes, how: Publishing | None, *, urgent: bool) -> None:
    # what is retained keeps the order of the results: a later one must not be overtaken, for the last one stays
    ahead = urgent and (how is None or not how.retain)
    priority = Priority.NOTE if ahead else None
    batch.outbox.append(OutboxRow("output", topic, payload, durable=False, link=SITE, priority=priority, publishing=how))


def _add_change(batch: Batch, change: Change) -> None:
    """Announcements go before the states that they announce, and are dropped last."""
    for payload in change.messages:
        row = OutboxRow("output", change.topic, payload, durable=False, link=SITE, priority=Priority.NOTE, publishing=RETAINED)
        batch.outbox.append(row)
    if change.stale is not None:
        _add(batch, change.stale, b"", RETAINED, urgent=False)
    batch.values.update(change.values)
