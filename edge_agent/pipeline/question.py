"""From a window to what a model is asked: each input's values, oldest first, as numbers."""

from collections.abc import Mapping

from edge_agent.inference.answers import ModelInput
from edge_agent.ingest.events import Value
from edge_agent.pipeline.windows import ClosedWindow
from fleet_contract.manifest import Manifest


def to_model_input(window: ClosedWindow, inputs: Mapping[str, str]) -> ModelInput:
    """Every reading of the window under its model input's name; the worker takes those that its model names.

    `inputs` maps a model input to a reading; a reading that it does not name keeps its own. A text is the last event's.
    Booleans are 1 and 0; a text, a null or a reading that an event does not carry is missing.
    """
    events = window.events
    last = events[-1].sample
    times = [event.sample.time for event in events if event.sample.time is not None]
    if len(times) < len(events):
        times = []  # a feature on time gets all of them or none
    names = {name for event in events for name in event.sample.values}
    values = {name: [number(event.sample.values.get(name)) for event in events] for name in names}
    for model_input, reading in inputs.items():
        if model_input != reading:
            values[model_input] = values.get(reading, [None] * len(events))
    return ModelInput(values, times, last.text)


def find_misfit(window: ClosedWindow, inputs: Mapping[str, str], manifest: Manifest, label: str | None = None) -> str | None:
    """Why pipeline and model do not fit; None if they do.

    Too few events, a unit that the model was not trained on, or a decision on a `label` that it does not know.
    """
    if label is not None and label not in manifest.labels:
        known = ", ".join(manifest.labels) or "none"
        return f"the pipeline decides on the label {label!r}, the model's labels are: {known}"
    if len(window.events) < manifest.window:
        return f"the window holds {len(window.events)} events, the model needs {manifest.window}"
    for item in manifest.inputs:
        if item.unit is not None:
            reading = inputs.get(item.name, item.name)
            for event in window.events:
                unit = event.sample.units.get(reading)
                if unit is not None and unit != item.unit:
                    return f"{item.name} is given in {unit}, the model was trained on {item.unit}"
    return None


def number(value: Value) -> float | None:
    """A reading as a number; None for a text, a null and what no float can hold."""
    if isinstance(value, bool):
        return 1.0 if value else 0.0
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # an integer of more than 308 digits
            return None
    return None
