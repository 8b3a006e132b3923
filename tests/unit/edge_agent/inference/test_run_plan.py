"""The device's settings with the model's own over them."""

from edge_agent.inference.run_plan import resolve
from edge_agent.settings import InferenceSettings, ModelSettings, OnMissing


def test_what_a_model_does_not_say_is_the_devices_own() -> None:
    settings = InferenceSettings(threads=2, max_batch=16, deadline=3.0, models={"frost": ModelSettings(max_batch=4)})
    plan = resolve(settings, "frost", "onnx")
    assert (plan.threads, plan.max_batch, plan.deadline) == (2, 4, 3.0)
    assert resolve(settings, "leak", "onnx").max_batch == 16


def test_zero_and_false_are_values_of_a_models_own() -> None:
    own = ModelSettings(spin=False, max_delay=0.0, memory_bytes=0)
    plan = resolve(InferenceSettings(spin=True, max_delay=0.01, models={"frost": own}), "frost", "onnx")
    assert (plan.spin, plan.max_delay, plan.memory_bytes) == (False, 0.0, 0)


def test_the_interpreter_is_the_runtimes_and_accelerators_are_the_models() -> None:
    own = ModelSettings(require=("cuda",), on_missing=OnMissing.DEGRADE)
    settings = InferenceSettings(python={"onnx": "/usr/bin/python3.10"}, models={"frost": own})
    plan = resolve(settings, "frost", "onnx")
    assert (plan.python, plan.require, plan.on_missing) == ("/usr/bin/python3.10", ("cuda",), OnMissing.DEGRADE)
    assert resolve(settings, "frost", "tflite").python is None
