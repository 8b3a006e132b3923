"""What a JSON payload says about itself: which sensor, when, and the event's own id. Shared by the formats that are JSON."""

from datetime import tzinfo
from typing import Any, NamedTuple

from edge_agent.ingest.events import DeadLetter
from edge_agent.ingest.instant import read_time
from edge_agent.ingest.json_document import MISSING, find, find_exactly
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

NO_TIME = ("no_time",)
RETAINED = ("retained",)
NO_TIME_RETAINED = ("no_time", "retained")


class Envelope(NamedTuple):
    """Device, time, own id and the quality that follows from them."""

    device: str
    time: str | None
    own_id: str | None
    quality: tuple[str, ...]


def configured_device(settings: IngestSettings, topic: str) -> str | None:
    """The sensor's id at the configured level of the topic; None where none is configured, or the topic has nothing there."""
    if settings.device_level is None:
        return None
    levels = topic.split("/")
    return levels[settings.device_level] or None if -len(levels) <= settings.device_level < len(levels) else None


def topic_device(settings: IngestSettings, topic: str) -> str:
    """The sensor's id as the topic tells it: the configured level, else the whole topic."""
    return configured_device(settings, topic) or topic


def plain_quality(retain: bool) -> tuple[str, ...]:
    """The quality of an event without a time."""
    return NO_TIME_RETAINED if retain else NO_TIME


def read_envelope(
    settings: IngestSettings, zone: tzinfo, topic: str, payload: bytes, document: Any, retain: bool
) -> Envelope | DeadLetter:
    """Read device, time and id; a time that is there and cannot be read is a dead letter, a null one is no time.

    A device path that leads to nothing falls back to the topic.
    """
    own_id = device = time = None
    quality: tuple[str, ...] = RETAINED if retain else ()
    if settings.id_path is not None:
        found = find(document, settings.id_path)
        if type(found) is str or type(found) is int:
            own_id = str(found) or None
    if settings.device_path is not None:
        found = find(document, settings.device_path)
        if type(found) is str or type(found) is int:
            device = str(found) or None
    if settings.time_path is not None:
        timed = event_time(find(document, settings.time_path), settings.time_path, zone, payload)
        if isinstance(timed, DeadLetter):
            return timed
        time, naive = timed
        if naive:
            quality = ("naive_time", *quality)
    if time is None:
        quality = plain_quality(retain)
    return Envelope(device or topic_device(settings, topic), time, own_id, quality)


def event_time(found: Any, path: str, zone: tzinfo, payload: bytes) -> tuple[str | None, bool] | DeadLetter:
    """A time found under a path of a JSON payload: with all its digits, and whether the zone had to be assumed.

    MISSING and null are no time; what is there and cannot be read is a dead letter.
    """
    if found is MISSING or found is None:
        return None, False
    if type(found) is float and not _is_exact(found, payload):
        found = find_exactly(payload, path)
    try:
        return read_time(found, zone)
    except (ValueError, OverflowError) as error:
        return DeadLetter(Reason.BAD_TIME, f"{path}: {error}")


def _is_exact(number: float, payload: bytes) -> bool:
    """Whether the payload holds a number with exactly these digits, and once: then none were lost when it became a float."""
    text = repr(number).encode()
    place = payload.find(text)
    after = payload[place + len(text) : place + len(text) + 1]
    return place >= 0 and after in b",}] \t\r\n" and payload.find(text, place + 1) < 0
