from pathlib import Path

import msgspec
import pytest

from edge_agent.inference.tuned import Tuned, write_tuned
from edge_agent.settings import InferenceSettings, ModelSettings
from edge_agent.updates.ledger import Installed, Ledger, UpdateRecord
from edge_agent.updates.own_device import configured_for, costs_of, note_cost, worker_memory
from edge_agent.updates.picking import SOLE, Configured, Device, Offer, pick
from fleet_contract.trust import VariantFacts
from fleet_contract.update_report import Evidence, Figures

ONNX = VariantFacts(runtime="onnx", runtime_min="1.16", latency_us=4000)
DEVICE = Device(
    runtimes={"onnx": "onnxruntime 1.20.1", "tflite": "ai-edge-litert 1.3.0"},
    accelerators=frozenset({"cpu", "xnnpack"}),
    disk_bytes=10**9,
)
FP32 = Offer(variant="fp32", length=80_000_000, facts=ONNX)
INT8 = Offer(variant="int8", length=20_000_000, facts=msgspec.structs.replace(ONNX, latency_us=1500))
TFLITE = Offer(variant="tflite", length=15_000_000, facts=VariantFacts(runtime="tflite", runtime_min="2.14", latency_us=1000))


def device(**changes: object) -> Device:
    values = {name: getattr(DEVICE, name) for name in Device.__slots__}
    return Device(**values | changes)  # type: ignore[arg-type]


def facts(**changes: object) -> Offer:
    return Offer(variant="odd", length=1000, facts=msgspec.structs.replace(ONNX, **changes))


def test_the_variant_that_its_maker_promises_to_be_quickest_is_picked_and_the_others_say_why_not() -> None:
    choice = pick([FP32, INT8, TFLITE], DEVICE)
    assert choice.picked is TFLITE
    assert choice.why == "it costs least: 1 ms, 15.0 MB"
    assert choice.rejected == {
        "fp32": "tflite costs less: 4 ms, 80.0 MB against 1 ms, 15.0 MB",
        "int8": "tflite costs less: 1.5 ms, 20.0 MB against 1 ms, 15.0 MB",
    }


def test_a_device_without_tflite_picks_among_the_rest() -> None:
    choice = pick([FP32, INT8, TFLITE], device(runtimes={"onnx": "onnxruntime 1.20.1"}))
    assert choice.picked is INT8
    assert choice.rejected["tflite"] == "no runtime for tflite is installed"


def test_what_was_measured_here_counts_more_than_a_promise() -> None:
    slow_int8 = device(configured=Configured(costs={"int8": 9.0, "fp32": 5.0, "tflite": 7.0}))
    assert pick([FP32, INT8, TFLITE], slow_int8).picked is FP32


def test_a_promise_is_scaled_by_what_others_took_here() -> None:
    # int8 took six times its promise here, so tflite's 1 ms is worth 6 ms: more than the 5 ms that fp32 took.
    measured = device(configured=Configured(costs={"int8": 9.0, "fp32": 5.0}))
    choice = pick([INT8, TFLITE], measured)
    assert choice.picked is TFLITE
    assert choice.why.startswith("it costs least: 6 ms")


def test_without_costs_the_smaller_is_picked_and_a_known_cost_comes_first() -> None:
    big = Offer(variant="big", length=9, facts=VariantFacts(runtime="onnx"))
    small = Offer(variant="small", length=3, facts=VariantFacts(runtime="onnx"))
    assert pick([big, small], DEVICE).picked is small
    assert pick([big, small, INT8], DEVICE).picked is INT8


def test_of_equal_cost_a_preferred_accelerator_comes_before_size() -> None:
    liked = Offer(variant="liked", length=9, facts=msgspec.structs.replace(ONNX, accelerators_preferred=("xnnpack",)))
    assert pick([Offer(variant="small", length=3, facts=ONNX), liked], DEVICE).picked is liked


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (facts(runtime_min="1.21"), "onnxruntime: 1.21 or newer is needed, installed is 1.20.1"),
        (facts(runtime_max="1.19"), "onnxruntime: 1.19 or older is needed, installed is 1.20.1"),
        (facts(runtime="gguf"), "no runtime for gguf is installed"),
        (facts(accelerators=("cuda", "tensorrt")), "needs cuda or tensorrt, which is not here"),
        (facts(memory_bytes=300_000_000), "needs 300.0 MB of memory, a worker may take 200.0 MB"),
        (Offer(variant="odd", length=600_000_000, facts=ONNX), "needs 1200.0 MB of disk, 1000.0 MB are free"),
        (facts(disk_bytes=2_000_000_000), "needs 2000.0 MB of disk, 1000.0 MB are free"),
    ],
)
def test_what_cannot_run_here_is_left_out_with_its_reason(offer: Offer, why: str) -> None:
    choice = pick([offer], device(configured=Configured(memory_bytes=200_000_000)))
    assert choice.picked is None
    assert choice.rejected == {"odd": why}


def test_an_old_runtime_is_too_old_for_a_new_opset() -> None:
    choice = pick([facts(runtime_min=None, opset=21)], device(runtimes={"onnx": "onnxruntime 1.16.3"}))
    assert choice.rejected == {"odd": "opset 21 needs onnxruntime 1.18, installed is 1.16.3"}


def test_litert_meets_the_numbers_of_tflite() -> None:
    assert pick([TFLITE], DEVICE).picked is TFLITE


def test_the_configuration_overrides_the_choice() -> None:
    choice = pick([FP32, INT8, TFLITE], device(configured=Configured(variant="fp32")))
    assert choice.picked is FP32
    assert choice.rejected == dict.fromkeys(("int8", "tflite"), "the configuration asks for fp32")
    assert pick([INT8], device(configured=Configured(variant="fp32"))).picked is None


def test_a_single_build_has_no_name_to_be_overridden() -> None:
    sole = Offer(variant=None, length=9, facts=VariantFacts(runtime="gguf"))
    assert pick([sole], device(configured=Configured(variant="fp32"))).rejected == {SOLE: "no runtime for gguf is installed"}


def test_what_is_on_the_disk_is_taken_whatever_it_costs() -> None:
    kept = Offer(variant="fp32", length=10**12, facts=ONNX, on_disk=True)
    assert pick([INT8, kept], DEVICE).picked is kept


def test_costs_are_those_of_tune_before_those_of_an_earlier_release(tmp_path: Path) -> None:
    ledger = Ledger()
    evidence = Evidence(candidate=Figures(inferences=100, p95_ms=3.5))
    note_cost(ledger, UpdateRecord(model="frost", release=1, since="", variant="int8", evidence=evidence))
    note_cost(ledger, UpdateRecord(model="frost", release=1, since="", evidence=evidence))
    assert costs_of(ledger, "frost", None) == {"int8": 3.5}
    installed = Installed(model="frost", release=1, version="1.0.0", digest="sha256:a", since="", variant="int8")
    ledger.active["frost"] = installed
    tuned = Tuned(
        threads=2, spin=False, max_batch=1, version="1.0.0", digest="sha256:a", latency_p95_ms=2.5, per_second=1.0, time=""
    )
    write_tuned(tmp_path, {"frost": tuned})
    own = {"frost": ModelSettings(variant="int8", require=("cuda",), delegates=("/a.so", "edgetpu"))}
    configured = configured_for(InferenceSettings(models=own), tmp_path, "frost", ledger)
    assert configured.costs == {"int8": 2.5}
    assert (configured.variant, configured.accelerators) == ("int8", ("cuda", "edgetpu"))
    (tmp_path / "tuned.json").write_text("{")
    assert configured_for(InferenceSettings(models=own), tmp_path, "frost", ledger).costs == {"int8": 3.5}


def test_a_worker_may_take_the_least_of_its_limit_the_budget_and_the_board() -> None:
    assert worker_memory(InferenceSettings(), ModelSettings(), 10**9) == 10**9 - 64 * 1024**2
    assert worker_memory(InferenceSettings(memory_budget=10**8), ModelSettings(), 10**9) == 10**8
    assert worker_memory(InferenceSettings(), ModelSettings(memory_bytes=5), 10**9) == 5
    assert worker_memory(InferenceSettings(), ModelSettings(memory_bytes=0), 10**12) == 10**12 - 64 * 1024**2
