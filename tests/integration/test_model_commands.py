"""`edge-agent run-model`, `bench` and `tune` as a person runs them, on the demo's models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edge_agent.inference.tuned import read_tuned
from fleet_controller.registry.bundles import build_bundle

MODELS = Path(__file__).parents[2] / "fleet_controller" / "demo" / "models"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    for name, version in (("reports", "1.0.0"), ("leak", "2.0.0"), ("leak", "1.0.0"), ("frost", "2.0.0")):
        build_bundle(MODELS / name / version, made / f"{name}-{version}.tar")
    (made / "state").mkdir()
    (made / "agent.toml").write_text(f'device = "d"\nstate_dir = "{made}/state"\n[mqtt]\nhost = "localhost"\n')
    return made


def edge_agent(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", *arguments]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, timeout=100, check=False)


def test_a_text_from_standard_input_gets_its_labels(folder: Path) -> None:
    done = edge_agent(folder, "run-model", "reports-1.0.0.tar", "-", "-o", "json", given='{"text": "a water pipe is leaking"}')
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["answers"][0]["scores"]
    assert max(scores, key=scores.get) == "water_leak"


def test_an_array_and_json_lines_are_read_alike_and_an_input_without_scores_ends_with_3(folder: Path) -> None:
    golden = json.loads((MODELS / "leak" / "2.0.0" / "golden.json").read_text())
    good = {key: golden[0][key] for key in ("window", "times")}
    name = next(iter(good["window"]))
    bad = {"window": {**good["window"], name: []}, "times": good["times"]}
    (folder / "inputs.json").write_text(json.dumps([good, bad]))
    (folder / "inputs.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    found = []
    for file in ("inputs.json", "inputs.jsonl"):
        done = edge_agent(folder, "run-model", "leak-2.0.0.tar", file, "-o", "json")
        assert done.returncode == 3, done.stderr
        found.append(json.loads(done.stdout)["answers"])
    assert found[0] == found[1]
    given = found[0][0]["scores"]
    values = list(given.values()) if isinstance(given, dict) else given
    assert values == pytest.approx(golden[0]["scores"], abs=golden[0]["tolerance"])
    assert found[0][1]["reason"] == "wrong_shape"
    assert "no scores: wrong_shape" in edge_agent(folder, "run-model", "leak-2.0.0.tar", "inputs.json").stdout


def test_raw_tensors_get_an_output_with_its_shape(folder: Path) -> None:
    source = folder / "adding"
    source.mkdir()
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "rows", 2]) for name in "ab"]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", "rows", 2])
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["sum"])], "adding", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (source / "model.onnx").write_bytes(model.SerializeToString())
    (source / "model.toml").write_text(
        'schema = 1\nname = "adding"\nversion = "1.0.0"\ntask = "sum"\nruntime = "onnx"\nfile = "model.onnx"\n'
        'golden = "golden.json"\nlicence = "Apache-2.0"\nkind = "tensor"\n'
        'input_tensors = [{ name = "a", dtype = "float32", shape = [-1, -1, 2] },'
        ' { name = "b", dtype = "float32", shape = [-1, -1, 2] }]\n'
        'output_tensor = { name = "sum", dtype = "float32", shape = [-1, -1, 2] }\n'
    )
    one, two = ({"dtype": "float32", "shape": [1, 2], "values": [values]} for values in ([1, 2], [10, 20]))
    question = {"tensors": {"a": one, "b": two}}
    (source / "golden.json").write_text(json.dumps([{**question, "scores": [11, 22]}]))
    build_bundle(source, folder / "adding.tar")
    done = edge_agent(folder, "run-model", "adding.tar", "-", "-o", "json", given=json.dumps(question))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers"] == [{"shape": [1, 2], "scores": [11.0, 22.0]}]
    assert "1: OUTPUT [1, 2]" in edge_agent(folder, "run-model", "adding.tar", "-", given=json.dumps(question)).stdout


@pytest.mark.parametrize(
    ("arguments", "given", "status", "text"),
    [
        (("run-model", "reports-1.0.0.tar", "-"), '{"window": {}}', 2, "-, line 1: reports is asked about texts"),
        (("run-model", "reports-1.0.0.tar", "none.json"), "", 1, "none.json: No such file"),
        (("run-model", "none.tar", "-"), "{}", 1, "none.tar: No such file"),
        (("bench", "leak", "--config", "agent.toml"), "", 1, "agent.db: name the file of a bundle"),
        (("bench", "agent.toml/x"), "", 1, "Not a directory"),
        (("bench", "leak-2.0.0.tar", "--threads", "0"), "", 2, "--threads"),
        (("tune", "leak-2.0.0.tar", "--variant", "frost-2.0.0.tar"), "", 2, "a bundle of model 'frost', not 'leak'"),
    ],
)
def test_what_cannot_be_done_is_named(folder: Path, arguments: tuple[str, ...], given: str, status: int, text: str) -> None:
    done = edge_agent(folder, *arguments, given=given)
    assert (done.returncode, done.stdout) == (status, "")
    assert text in done.stderr


def test_a_benchmark_says_what_was_measured_and_what_is_not_known(folder: Path) -> None:
    done = edge_agent(folder, "bench", "frost-2.0.0.tar", "--batch", "2", "--seconds", "1", "-o", "json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert (measured["version"], measured["batch"], measured["threads"], measured["errors"]) == ("2.0.0", 2, 1, 0)
    assert measured["inferences"] > 0
    assert 0 < measured["latency_p50"] <= measured["latency_p95"] <= measured["latency_p99"]
    assert measured["per_second"] == pytest.approx(measured["inferences"] / measured["seconds"])
    shown = edge_agent(folder, "bench", "frost-2.0.0.tar", "--seconds", "1").stdout
    assert "energy: " in shown
    assert measured["joules"] is not None or "unknown" in shown


def test_a_tuning_is_stored_unless_it_is_a_dry_run_and_compares_variants(folder: Path) -> None:
    arguments = ("tune", "leak-2.0.0.tar", "--variant", "leak-1.0.0.tar", "--config", "agent.toml", "--seconds", "3")
    done = edge_agent(folder, *arguments, "--dry-run", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {run["version"] for run in told["runs"]} == {"1.0.0", "2.0.0"}
    assert told["stored"] is False
    assert read_tuned(folder / "state") == {}
    done = edge_agent(folder, *arguments)
    assert done.returncode == 0, done.stderr
    choice = read_tuned(folder / "state")["leak"]
    assert f"choice: threads {choice.threads}, spin {str(choice.spin).lower()}, max_batch {choice.max_batch}" in done.stdout
    assert "stored; in force from the agent's next start" in done.stdout
