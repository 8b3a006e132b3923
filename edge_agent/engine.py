"""The event path: takes events over from the site link, feeds the pipelines, has windows scored, and commits the results.

Everything runs on the loop's thread. An event is acknowledged after the group commit that holds what must not be lost of it:
its results if they are ready by then, otherwise the message itself as a journal row (`committing.py`). Until a refused commit
succeeds (full disk, full outbox) nothing is acknowledged: that is the backpressure.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final

from edge_agent.committing import Commits
from edge_agent.engine_ports import EventStore, Scorer, SiteLink
from edge_agent.giving import Giving
from edge_agent.inference.answers import Answer, Failure
from edge_agent.ingest.events import DeadLetter, Decoded, Request
from edge_agent.ingest.identity import identify, packet_key, sample_id
from edge_agent.ingest.kept import from_kept
from edge_agent.ingest.recent import Taken, tagged
from edge_agent.ingest.samples import to_samples
from edge_agent.journal.batch import OutboxRow, unpack_properties
from edge_agent.journal.errors import StoreError
from edge_agent.link.port import Delivery
from edge_agent.loop import Loop
from edge_agent.notes import Notes
from edge_agent.outputs.port import ResultOutputs
from edge_agent.pipeline.chain import chained_id, to_sample
from edge_agent.pipeline.decision import Decided
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.quality import OF_EVENTS, count_names
from edge_agent.pipeline.question import find_misfit, to_model_input
from edge_agent.pipeline.windows import DROPPED, ClosedWindow, Event, Fed
from edge_agent.queues import Queues
from edge_agent.refusing import Refusals
from edge_agent.settings import AgentSettings, WindowKind
from edge_agent.sources import Route, Routes
from edge_agent.taking import CHAINED, KEPT, PLACED, REPLAYED, SKIPPED, Taking, no_event
from fleet_contract.messages import ModelRef, Result, decode, encode
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

CLOCK_IS_SET: Final = 1_767_225_600.0
"""Before 2026 the clock was never set: a board without a battery boots in 1970."""
SWEEP_INTERVAL: Final = 1.0
INDEX_BITS: Final = 16
"""A position is the event's number and, in these low bits, the sample's index in its message."""


class Engine:
    """Takes events over and gives results out.

    Args:
        pipelines: with their stored state already restored.
        on_scored: (model, release, seconds from arrival to commit) of each committed result of a model.
        wall: seconds since 1970, for the flag `clock_skew`; None where recorded events are fed.
        on_refused: a commit was refused for now; events wait at the broker.
        on_broken: a commit failed for good; no further one is made, and the daemon has to end.
        on_request: what a decoder wants sent to the sensors' side, for an event that is no repeat.
    """

    def __init__(
        self,
        settings: AgentSettings,
        loop: Loop,
        store: EventStore,
        pipelines: Sequence[Pipeline],
        models: Scorer,
        *,
        on_scored: Callable[[str, int, float], None] = lambda _model, _release, _seconds: None,
        on_refused: Callable[[StoreError], None] = lambda _error: None,
        on_broken: Callable[[StoreError], None] = lambda _error: None,
        on_request: Callable[[Sequence[Request]], None] = lambda _requests: None,
        outputs: ResultOutputs | None = None,
        wall: Callable[[], float] | None = time.time,
    ) -> None:
        self._qos0_buffer = settings.qos0_buffer
        self._loop = loop
        self._store = store
        self._models = models
        self._on_request = on_request
        self._wall = wall
        self._now = inf
        """The wall clock, infinite where it says nothing."""
        self._attentive = 0.0
        """Seconds in which events could come: what idle time-outs are counted in."""
        self._pipelines = tuple(pipelines)
        self.routes = Routes(pipelines)
        self.routes.restore(store.pipeline_states)
        self.notes = Notes(settings.device, self.add_row)
        self._taken = Taken(store.taken_keys())
        self._takings: dict[int, Taking] = {}
        self._link: SiteLink | None = None
        self.counters: Counter[str] = Counter()
        """Totals since the start; their names are listed in docs/protocol.md."""
        self._commits = Commits(
            settings.store,
            loop,
            store,
            self.counters,
            store.counts.last_event_no,
            acknowledge=self._acknowledge,
            on_scored=on_scored,
            on_refused=on_refused,
            on_broken=on_broken,
        )
        remember = settings.store.remembered_answers > 0
        self._giving = Giving(settings.device, pipelines, self._commits, self.counters, outputs, remember=remember)
        self.queues = Queues(settings.pipelines, self.counters, self.notes.write, loop)
        self._refusals = Refusals(self._commits, self.counters, self.notes.dead_letter)
        self._refiring: list[tuple[Pipeline, ClosedWindow]] | None = None
        """While the journal is read: windows that fire again."""
        self.scoring = 0
        """Windows that a model is asked about now."""

    def attach(self, link: SiteLink) -> None:
        """The link that is acknowledged to."""
        self._link = link

    def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if self._link is not None:
            self._link.ack(deliveries)

    def rebuild(self) -> None:
        """Feed the journal to the pipelines again, at start: open windows stand as before, and finished ones stay finished."""
        self._commits.gathering = True
        self._refiring = []
        for row in self._store.journal_rows():
            self._commits.event_no = max(self._commits.event_no, row.event_no)
            delivery = Delivery(row.topic, row.payload, row.qos, row.retain, False, 0, -1, unpack_properties(row.properties))
            self._feed_safely(Taking(row.event_no, None, time.monotonic()), delivery, rebuilding=True)
            self.counters["events_rebuilt"] += 1
        for pipeline in self._pipelines:
            self._commits.next.states.update(((pipeline.settings.name, key), pipeline) for key in pipeline.stale)
            for fed in pipeline.resume():
                self._apply(pipeline, fed, None)
        refiring, self._refiring = self._refiring, None
        for pipeline, window in refiring:
            self._score(pipeline, window, no_event())
        self._commits.gathering = False
        if any(pipeline.sweeps for pipeline in self._pipelines):
            self._loop.call_every(SWEEP_INTERVAL, self.sweep)
        self._commits.flush()

    def add_row(self, row: OutboxRow) -> None:
        """Put a row into the next group commit."""
        self.add_rows([row], {})

    def add_rows(self, rows: Sequence[OutboxRow], values: Mapping[str, bytes | None]) -> None:
        """Put rows and stored values into the next group commit, together."""
        pending = self._commits.next
        pending.batch.outbox += rows
        pending.batch.values.update(values)
        pending.touch()
        self._commits.flush()

    @property
    def idle(self) -> bool:
        """Whether everything that was taken in is committed."""
        return self._commits.idle

    @property
    def open_events(self) -> int:
        """Events that a buffer or an unfinished window holds."""
        return len(self._takings)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take events over."""
        now = time.monotonic()
        if self._wall is not None:
            wall = self._wall()
            self._now = wall if wall >= CLOCK_IS_SET else inf
        self._commits.gathering = True
        for delivery in deliveries:
            self._take(delivery, now)
        self._commits.gathering = False
        self._commits.flush()

    def wants(self, topic: str) -> bool:
        """Whether a pipeline reads this topic."""
        return bool(self.routes.match(topic))

    def take_again(self, deliveries: Sequence[Delivery], numbers: Sequence[int]) -> None:
        """Take dead letters in once more; `numbers`, their letters, go in the commit that holds what became of them."""
        self._commits.next.batch.dead_letters_gone += numbers
        self._commits.next.touch()
        self.counters["dead_letters_replayed"] += len(numbers)
        self.on_deliveries(list(deliveries))

    # ---- taking over

    def _take(self, delivery: Delivery, now: float) -> None:
        self.counters["events"] += 1
        pending = self._commits.next
        if delivery.qos:
            pending.deliveries.append(delivery)
        elif self._commits.qos0_waiting >= self._qos0_buffer:
            self.counters["qos0_overflow"] += 1
            return
        pending.touch(now)
        self._commits.event_no += 1
        taking = Taking(self._commits.event_no, delivery, now)
        if self._feed_safely(taking, delivery, rebuilding=False):
            pending.takings.append(taking)
            if not delivery.qos:
                self._commits.qos0_waiting += 1
                pending.qos0 += 1

    def _feed_safely(self, taking: Taking, delivery: Delivery, *, rebuilding: bool) -> bool:
        """As `_feed`; an event that breaks it costs the others nothing, and what already holds it goes on holding it."""
        try:
            return self._feed(taking, delivery, rebuilding=rebuilding)
        except Exception as error:  # a defect of ours, which must not stop the intake: the event is told of and acknowledged
            self._loop.errors += 1
            log.exception("an event could not be taken in", extra={"topic": delivery.topic})
            self._refusals.message(delivery, Reason.WRONG_SHAPE, repr(error), "")
            if taking.event_no in self._takings:
                self._release([taking.event_no << INDEX_BITS])
            return True

    def _feed(self, taking: Taking, delivery: Delivery, *, rebuilding: bool) -> bool:
        """Decode, drop repeats, feed the pipelines; False when nothing of the event is left to be done."""
        fed = False
        self._takings[taking.event_no] = taking
        taking.holds = 1  # of this method, so that one pipeline cannot let go of what the next one still gets
        if rebuilding and CHAINED in delivery.properties:
            result = decode(delivery.payload, Result)
            event = Event(taking.event_no << INDEX_BITS, chained_id(result), to_sample(result))
            self._reattach(self.routes.fed_by.get(result.pipeline, ()), event, taking, delivery, 0)
            self._release([event.position])
            return True
        known = self._taken
        indexes: dict[str, int] = {}
        """By pipeline, the next sample's: it must not depend on who else reads the message, for marks are compared with it."""
        topic, payload, properties = delivery.topic, delivery.payload, delivery.properties
        routes = self.routes.match(topic)
        if not routes:
            self.counters["events_unrouted"] += 1
        skipped: Any = properties.get(SKIPPED, ()) if rebuilding else ()
        replayed = None if rebuilding else properties.get(REPLAYED)
        one_alone = replayed is not None and any(route.feeds(replayed) for route in routes)
        for route in routes:
            if route.owner in skipped or (one_alone and not route.feeds(replayed)):
                taking.skipped.append(route.owner)
                continue
            decoded = self._decode(route, delivery, rebuilding=rebuilding)
            if isinstance(decoded, DeadLetter):
                taking.skipped.append(route.owner)
                if not rebuilding:
                    route.note_unread()
                    key = tagged(packet_key(topic, payload, delivery.mid), route.tag)
                    if delivery.dup and key in known:
                        self.counters["events_repeated"] += 1
                        continue
                    known.add(key)
                    self._commits.next.batch.taken.append(key)
                self._refusals.message(delivery, decoded.reason, decoded.detail, route.pipelines[0].settings.name)
                if decoded.requests and not rebuilding:
                    self._on_request(decoded.requests)
                continue
            identity = identify(topic, payload, decoded, lambda: f"{self._store.stream}-{taking.event_no}", delivery.mid)
            if not rebuilding:
                key = tagged(identity.key, route.tag)
                if (delivery.dup or not identity.fresh) and (
                    key in known or (replayed is None and known.before_start(identity, topic, payload))
                ):
                    self.counters["events_repeated"] += 1
                    taking.skipped.append(route.owner)
                    continue
                if route.ingest.remembers:
                    self._remember(route, delivery.topic, decoded, taking)
                if decoded.requests:
                    self._on_request(decoded.requests)
            index = max(indexes.get(item.settings.name, 0) for item in route.pipelines) if indexes else 0
            for place, sample in enumerate(to_samples(decoded.events)):
                # the id by the place within this reading of the message alone: how others read it must not change a result's id
                event = Event(taking.event_no << INDEX_BITS | index, sample_id(identity.event_id, place), sample)
                if rebuilding:
                    self._reattach(route.pipelines, event, taking, delivery, index)
                else:
                    if sample.quality:
                        self.counters.update(count_names(sample.quality, OF_EVENTS))
                    for pipeline in route.pipelines:
                        self._feed_pipeline(pipeline, event, taking, index)
                index += 1
                fed = True
            if len(routes) > 1:
                indexes.update((item.settings.name, index) for item in route.pipelines)
            if not rebuilding:
                known.add(key)
                self._commits.next.batch.taken.append(key)
        self._release([taking.event_no << INDEX_BITS])
        return fed

    def _decode(self, route: Route, delivery: Delivery, *, rebuilding: bool) -> Decoded | DeadLetter:
        ingest = route.ingest
        if rebuilding and ingest.remembers:
            kept = delivery.properties.get(KEPT)
            if isinstance(kept, dict) and ingest.name in kept:
                return from_kept(kept[ingest.name])
        return ingest.decode(delivery.topic, delivery.payload, delivery.properties, retain=delivery.retain)

    def _remember(self, route: Route, topic: str, decoded: Decoded, taking: Taking) -> None:
        """Take the stream's new state over; what the message means now is journaled, for a later birth may change it."""
        ingest = route.ingest
        stream = ingest.accept(topic, decoded)
        if stream is not None:
            self._commits.next.states[ingest.name, stream] = ingest
        if decoded.events:
            if taking.decoded is None:
                taking.decoded = {}
            taking.decoded[ingest.name] = decoded

    def _feed_pipeline(self, pipeline: Pipeline, event: Event, taking: Taking, index: int) -> None:
        fed = pipeline.feed(event, self._now)
        if fed is None:
            self.counters["events_too_many_sensors"] += 1
            taking.place(pipeline.settings.name, index, DROPPED)
            return
        taking.holds += 1  # of the pipeline's windows, until it is released
        if placed := fed.placed:
            taking.place(pipeline.settings.name, index, placed)
            self.counters["events_backlog"] += fed.historical
            self.counters["events_untimed"] += fed.untimed
            self.counters["events_skewed"] += fed.skewed
        self._apply(pipeline, fed, taking)

    def _reattach(self, pipelines: Sequence[Pipeline], event: Event, taking: Taking, delivery: Delivery, index: int) -> None:
        """After a restart: put a sample of the journal back where it was."""
        placed: Any = delivery.properties.get(PLACED) or {}
        for pipeline in pipelines:
            codes = dict(placed.get(pipeline.settings.name, ()))
            fed = pipeline.reattach(event, codes.get(index, 0))
            if fed is not None:
                taking.holds += 1
                self._apply(pipeline, fed, None)

    def _apply(self, pipeline: Pipeline, fed: Fed, closer: Taking | None) -> None:
        """Hold the events of the windows that fired, release what is not needed, and have the windows scored."""
        for window in fed.closed:
            for held in window.events:
                self._takings[held.position >> INDEX_BITS].holds += 1
            if fed.changed:
                self._commits.next.states[pipeline.settings.name, window.row_key] = pipeline
        self._release(fed.released)
        if fed.late or fed.jumped:
            self.counters["events_late"] += fed.late
            self.counters["events_jumped"] += fed.jumped
        if fed.changed:
            self._commits.next.states[pipeline.settings.name, fed.lane_key] = pipeline
            self._commits.next.touch()
        if not fed.closed:
            return
        if self._refiring is not None:  # events that come later in the journal must be in their places first
            self._refiring += [(pipeline, window) for window in fed.closed]
            return
        closer = closer or no_event()
        closer.scoring += len(fed.closed)
        for window in fed.closed:
            self._score(pipeline, window, closer)

    def sweep(self) -> None:
        """Idle time-outs; called once a second. They stand still while no event can come."""
        if self._commits.refused or self._link is None or not self._link.connected:
            return
        self._attentive += SWEEP_INTERVAL
        self._commits.gathering = True
        for pipeline in self._pipelines:
            for fed in pipeline.sweep(self._attentive):
                self._apply(pipeline, fed, None)
        self._commits.gathering = False
        self._commits.flush()

    def _release(self, positions: Sequence[int]) -> None:
        for position in positions:
            taking = self._takings[position >> INDEX_BITS]
            taking.holds -= 1
            if not taking.holds:
                del self._takings[taking.event_no]
                if taking.journaled:
                    self._commits.next.batch.forget.append(taking.event_no)
                    self._commits.next.touch()

    # ---- scoring and deciding

    def _score(self, pipeline: Pipeline, window: ClosedWindow, closer: Taking) -> None:
        settings = pipeline.settings
        try:
            if settings.model is None:
                decided = pipeline.read(window)
            else:
                asked = pipeline.joined(window)
                question = to_model_input(asked, settings.inputs)
        except Exception as error:  # noqa: BLE001 - `_break` logs it: a defect of ours, which must not keep the window for ever
            self._break(pipeline, window, error)
            self._finish(pipeline, window, closer, None, None)
            return
        if settings.model is None:
            self._finish(pipeline, window, closer, decided, None)
            return
        self.scoring += 1
        lane = self.queues.lanes.get(settings.name)
        self._models.submit(
            settings.model, question, lambda answer: self._answered(pipeline, window, asked, closer, answer), lane, window.key
        )

    def _answered(
        self, pipeline: Pipeline, window: ClosedWindow, asked: ClosedWindow, closer: Taking, answer: Answer | Failure
    ) -> None:
        self.scoring -= 1
        outcome: Decided | Failure
        settings = pipeline.settings
        if isinstance(answer, Answer):
            manifest = answer.manifest
            misfit = find_misfit(asked, settings.inputs, manifest, settings.decision.label)
            if misfit is None:
                try:
                    outcome = pipeline.decide(window, answer.scores, manifest.labels, manifest.decision)
                except (ValueError, IndexError) as error:  # other scores than the manifest's labels promise
                    outcome = Failure(Reason.BAD_OUTPUT, f"the scores cannot be decided on: {error}")
            else:
                outcome = Failure(Reason.WRONG_SHAPE, misfit)
        else:
            outcome = answer
        if isinstance(outcome, Failure):
            if not self.queues.dropped(settings.name, outcome):
                self._refusals.window(asked, outcome.reason, outcome.detail, settings.name)
            self._finish(pipeline, window, closer, None, None)
        else:
            self._finish(pipeline, window, closer, outcome, answer.model if isinstance(answer, Answer) else None)
        self._commits.flush()

    def _break(self, pipeline: Pipeline, window: ClosedWindow, error: Exception) -> None:
        """A window that has broken its answer is a dead letter, and done."""
        self._loop.errors += 1
        log.exception("a window could not be answered", extra={"pipeline": pipeline.settings.name, "sensor": window.key})
        self._refusals.window(window, Reason.BAD_OUTPUT, repr(error), pipeline.settings.name)

    def _finish(
        self,
        pipeline: Pipeline,
        window: ClosedWindow,
        closer: Taking,
        decided: Decided | None,
        model: ModelRef | None,
    ) -> None:
        """A window is done: its result if it is given out, its mark and the release of its events go into one commit.

        `closer` is the event that closed it, which for a window of time is not one of its events.
        """
        closer.scoring -= 1
        pending = self._commits.next
        pending.touch()
        name = pipeline.settings.name
        result = None
        if decided is not None and not decided.given:
            self.counters["results_suppressed"] += 1
        elif decided is not None:
            try:
                result = self._giving.give(pipeline, window, decided, model)
            except Exception as error:  # noqa: BLE001 - as in `_score`
                self._break(pipeline, window, error)
        if decided is not None and model is not None:
            pending.scored.append((model.name, model.release, closer.started))
        pipeline.finish(window)
        pending.states[name, window.lane_key] = pipeline
        if window.kind is not WindowKind.COUNT:
            pending.states[name, window.row_key] = pipeline
        self._release([event.position for event in window.events])
        fed = self.routes.fed_by.get(name)
        if fed is not None and result is not None:
            self._chain(fed, result, closer.started)

    def _chain(self, pipelines: Sequence[Pipeline], result: Result, started: float) -> None:
        """Feed a result to the pipelines that take it as an event: in the commit that holds it, or not at all."""
        commits = self._commits
        gathering, commits.gathering = commits.gathering, True
        commits.event_no += 1
        delivery = Delivery(
            self._giving.topics[result.pipeline], encode(result), 1, False, False, 0, -1, {CHAINED: result.pipeline}
        )
        taking = Taking(commits.event_no, delivery, started)
        self._takings[taking.event_no] = taking
        taking.holds = 1
        commits.next.takings.append(taking)
        self.counters["events_chained"] += 1
        event = Event(taking.event_no << INDEX_BITS, chained_id(result), to_sample(result))
        try:
            for pipeline in pipelines:
                self._feed_pipeline(pipeline, event, taking, 0)
        except Exception:  # as in `_feed_safely`: the result itself is given out all the same
            self._loop.errors += 1
            log.exception("a result could not be taken in as an event", extra={"pipeline": result.pipeline})
        finally:
            self._release([event.position])
            commits.gathering = gathering
