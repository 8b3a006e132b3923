from edge_agent.ingest.events import Sample, Value
from edge_agent.pipeline.question import find_misfit, to_model_input
from edge_agent.pipeline.windows import ClosedWindow, Event
from edge_agent.settings import WindowKind
from fleet_contract.manifest import Feature, InputKind, Manifest, Runtime, Tensor, WindowInput


def window(*values: dict[str, Value], units: dict[str, str | None] | None = None, times: bool = True) -> ClosedWindow:
    events = tuple(
        Event(number, str(number), Sample("s", float(number) if times else None, None, item, units or {}))
        for number, item in enumerate(values)
    )
    return ClosedWindow("s", WindowKind.COUNT, events, 0, 0, 0)


def manifest(unit: str | None = "Cel", least: int = 1) -> Manifest:
    return Manifest(
        schema=1,
        name="frost",
        version="1.0.0",
        task="classification",
        runtime=Runtime.ONNX,
        file="m.onnx",
        golden="g.json",
        kind=InputKind.WINDOW,
        window=least,
        inputs=(WindowInput(name="temperature", unit=unit),),
        features=(Feature(op="last", input="temperature"),),
        input_tensor=Tensor(name="x", dtype="float32", shape=(-1, 1)),
        output_tensor=Tensor(name="y", dtype="float32", shape=(-1, 1)),
        licence="Apache-2.0",
    )


def test_values_become_numbers_and_what_is_none_is_missing() -> None:
    item = to_model_input(window({"a": 1, "b": True}, {"a": "wet"}, {"a": 10**400, "b": False}), {})
    assert item.values == {"a": [1.0, None, None], "b": [1.0, None, 0.0]}
    assert list(item.times) == [0.0, 1.0, 2.0]


def test_an_input_takes_the_reading_that_the_pipeline_names() -> None:
    item = to_model_input(window({"object.temp": 3.5}), {"temperature": "object.temp", "wind": "gone"})
    assert (item.values["temperature"], item.values["wind"]) == ([3.5], [None])


def test_times_are_there_for_every_event_or_not_at_all() -> None:
    mixed = window({"a": 1}, {"a": 2})
    mixed.events[0].sample = Sample("s", None, None, {"a": 1}, {})
    assert list(to_model_input(mixed, {}).times) == []
    assert list(to_model_input(window({"a": 1}, times=False), {}).times) == []


def test_the_text_is_the_last_events() -> None:
    asked = window({}, {})
    asked.events[1].sample = Sample("s", None, None, {}, {}, "pump leaks")
    assert to_model_input(asked, {}).text == "pump leaks"


def test_a_window_with_another_unit_than_the_models_is_a_misfit_wherever_it_stands() -> None:
    assert find_misfit(window({"temperature": 50}, units={"temperature": "Cel"}), {}, manifest()) is None
    assert find_misfit(window({"temperature": 50}, units={"temperature": None}), {}, manifest()) is None
    assert find_misfit(window({"temperature": 50}, units={"temperature": "K"}), {}, manifest(None)) is None
    mixed = window({"temperature": 50}, {"temperature": 10}, units={"temperature": "Cel"})
    mixed.events[0].sample = Sample("s", 0.0, None, {"temperature": 283}, {"temperature": "K"})
    assert find_misfit(mixed, {}, manifest()) == "temperature is given in K, the model was trained on Cel"


def test_a_window_of_fewer_events_than_the_model_needs_is_a_misfit() -> None:
    misfit = find_misfit(window({"temperature": 1}), {}, manifest(least=3))
    assert misfit == "the window holds 1 events, the model needs 3"


def test_a_decision_on_a_label_that_the_model_does_not_know_is_a_misfit() -> None:
    misfit = find_misfit(window({"temperature": 1}), {}, manifest(), "frots")
    assert misfit is not None
    assert "frots" in misfit
