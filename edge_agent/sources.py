"""Which pipelines an event belongs to: sources that are read alike are decoded once for all their pipelines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge_agent.ingest.formats import Ingest
from edge_agent.ingest.recent import tag_of
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.settings import IngestSettings
from fleet_contract.topics import filter_matches

CACHED_TOPICS: Final = 4096


@dataclass(slots=True)
class Route:
    """One way of reading a topic, and the pipelines that want what is read."""

    settings: IngestSettings
    ingest: Ingest
    owner: str
    """Its first pipeline and the place of the source there: a name that outlives other settings and another order."""
    tag: bytes
    """From the owner, for the keys of events taken over."""
    pipelines: list[Pipeline] = field(default_factory=list)

    def note_unread(self) -> None:
        """An event came for these pipelines and could not be read."""
        for pipeline in self.pipelines:
            pipeline.taken += 1

    def feeds(self, pipeline: object) -> bool:
        """Whether the pipeline of this name is among them."""
        return any(item.settings.name == pipeline for item in self.pipelines)


class Routes:
    """All routes, and for each topic those that match; the matches of the last topics are remembered."""

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self._routes: list[Route] = []
        self.fed_by: dict[str, list[Pipeline]] = {}
        """Name of a pipeline to those whose events are its results."""
        for pipeline in pipelines:
            for place, settings in enumerate(pipeline.settings.all_sources):
                if settings.pipeline is None:
                    self._route(settings, f"{pipeline.settings.name}.{place}").pipelines.append(pipeline)
                else:
                    self.fed_by.setdefault(settings.pipeline, []).append(pipeline)
        self._cache: dict[str, tuple[Route, ...]] = {}

    def _route(self, settings: IngestSettings, owner: str) -> Route:
        route = next((item for item in self._routes if item.settings == settings), None)
        if route is None:
            name = f"{settings.format}:{settings.topic}"
            alike = sum(item.ingest.name.partition("\n")[0] == name for item in self._routes)
            route = Route(settings, Ingest(settings, f"{name}\n{alike}" if alike else name), owner, tag_of(owner))
            self._routes.append(route)
        return route

    def restore(self, states: Callable[[str], Mapping[str, bytes]]) -> None:
        """Give each decoder that remembers what was stored under its name, before the first message."""
        for route in self._routes:
            if route.ingest.remembers:
                route.ingest.restore(states(route.ingest.name))

    def filters(self) -> list[tuple[str, int]]:
        """What to subscribe to: each topic filter once, at the highest QoS that a source asks for."""
        wanted: dict[str, int] = {}
        for route in self._routes:
            topic, qos = route.settings.topic, route.settings.qos
            wanted[topic] = max(qos, wanted.get(topic, 0))
        return sorted(wanted.items())

    def match(self, topic: str) -> tuple[Route, ...]:
        """The routes of a topic."""
        found = self._cache.get(topic)
        if found is None:
            if len(self._cache) >= CACHED_TOPICS:
                self._cache.clear()
            found = tuple(route for route in self._routes if filter_matches(route.settings.topic, topic))
            self._cache[topic] = found
        return found
