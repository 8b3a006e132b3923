"""Readings of one message joined by device and time into the samples that windows hold.

A reading whose name the sample has already begins another one: a message may hold several measures that carry no time.
"""

from collections.abc import Sequence

from edge_agent.ingest.events import Reading, Sample, Text, Value
from edge_agent.ingest.instant import seconds


def to_samples(events: Sequence[Reading | Text]) -> list[Sample]:
    """One sample for each device and time, in the order of first appearance; each text is a sample of its own."""
    samples: list[Sample] = []
    joined: dict[tuple[str, str | None], Sample] = {}
    last: Sample | None = None
    for event in events:
        if type(event) is Reading:
            if last is None or event.time is not last.time_text or event.device is not last.device:
                key = event.device, event.time
                last = joined.get(key)
                if last is None or event.name in last.values:
                    last = joined[key] = _sample(event.device, event.time, None, event.quality)
                    samples.append(last)
            elif event.name in last.values:
                last = joined[last.device, last.time_text] = _sample(event.device, event.time, None, event.quality)
                samples.append(last)
            if event.quality is not last.quality and event.quality != last.quality:
                last.quality = tuple(dict.fromkeys((*last.quality, *event.quality)))
            last.values[event.name] = event.value
            last.units[event.name] = event.unit
        elif type(event) is Text:
            samples.append(_sample(event.device, event.time, event.text, event.quality))
    return samples


def _sample(device: str, time: str | None, text: str | None, quality: tuple[str, ...]) -> Sample:
    values: dict[str, Value] = {}
    return Sample(device, None if time is None else seconds(time), time, values, {}, text, quality)
