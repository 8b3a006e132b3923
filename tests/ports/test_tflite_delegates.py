"""TensorFlow Lite with a real delegate library, which the tests compile: it answers 0.25 for whatever it takes."""

import subprocess
from pathlib import Path

import pytest

from edge_agent.inference import protocol
from edge_agent.inference.backends import tflite
from edge_agent.inference.backends.port import BackendError
from edge_agent.inference.protocol import TensorSpec
from models.tflite_writer import write_custom
from tests.ports.networks import CASES, SAMPLES, expected, open_model, tflite_file

SOURCE = Path(__file__).with_name("delegate.c")
PACKAGES = [case.package for case in CASES if case.package is not None]


@pytest.fixture(params=PACKAGES, autouse=True)
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tflite, "PACKAGES", [item for item in tflite.PACKAGES if item[1] == request.param])
    return str(request.param)


def build(folder: Path, *, takes: int, fails: bool = False) -> str:
    """A delegate that takes the last so many operators."""
    library = folder / f"takes{takes}{fails}.so"
    options = ["-DANSWER=0.25f", f"-DTAKES={takes}", *(["-DFAILS"] if fails else [])]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", *options, "-o", str(library), str(SOURCE)], check=True)
    return str(library)


def test_a_delegate_that_takes_the_model_runs_it_and_is_reported(tmp_path: Path) -> None:
    backend = open_model("tflite", tflite_file(), delegates=(build(tmp_path, takes=9),))
    assert (backend.provider, backend.placement) == ("takes9False.so", {"takes9False.so": 1.0})
    assert backend.degraded is None
    assert backend.run({"features": SAMPLES[:1]}).tolist() == [[0.25, 0.25]]


def test_what_a_delegate_leaves_is_told_beside_its_own_share(tmp_path: Path) -> None:
    backend = open_model("tflite", tflite_file(), delegates=(build(tmp_path, takes=1),))
    assert backend.provider == "takes1False.so"
    assert backend.placement == {"takes1False.so": 0.5, "XNNPACK": 0.5}
    assert backend.run({"features": SAMPLES[:1]}).tolist() == [[0.25, 0.25]]


def test_a_delegate_that_takes_nothing_does_not_count_as_working(tmp_path: Path) -> None:
    library = build(tmp_path, takes=0)
    with pytest.raises(BackendError, match="takes 0% of the operators that compute") as caught:
        open_model("tflite", tflite_file(), delegates=(library,))
    assert caught.value.reason == protocol.PROVIDER_MISSING
    backend = open_model("tflite", tflite_file(), delegates=(library,), on_missing="degrade")
    assert backend.degraded == f"{library}: takes 0% of the operators that compute"
    assert (backend.provider, backend.placement) == ("XNNPACK", {"XNNPACK": 1.0})
    assert backend.run({"features": SAMPLES}) == pytest.approx(expected(SAMPLES), abs=1e-5)


def test_the_next_delegate_is_taken_where_one_does_not_start(tmp_path: Path) -> None:
    broken, sound = build(tmp_path, takes=9, fails=True), build(tmp_path, takes=9)
    backend = open_model("tflite", tflite_file(), delegates=(broken, "edgetpu", sound))
    assert backend.provider == "takes9False.so"


def test_what_a_delegate_says_about_its_start_is_passed_on(tmp_path: Path) -> None:
    library = build(tmp_path, takes=9, fails=True)
    with pytest.raises(BackendError, match="did not start: no such device is plugged in"):
        open_model("tflite", tflite_file(), delegates=(library,))
    with pytest.raises(BackendError, match=r"edgetpu: did not start: libedgetpu\.so\.1: cannot open shared object file"):
        open_model("tflite", tflite_file(), delegates=("edgetpu",))


def test_a_file_for_an_accelerator_names_the_missing_delegate_and_not_itself(tmp_path: Path) -> None:
    data = write_custom("edgetpu-custom-op", 3)
    given = TensorSpec("scores", "float32", (-1, 3))
    with pytest.raises(BackendError, match=r"(?s)edgetpu: did not start.*without: .*custom op") as caught:
        open_model("tflite", data, given=given, delegates=("edgetpu",), on_missing="degrade")
    assert caught.value.reason == protocol.PROVIDER_MISSING
    with pytest.raises(BackendError, match="custom op") as caught:
        open_model("tflite", data, given=given)
    assert caught.value.reason == protocol.FOREIGN_OPERATOR
    backend = open_model("tflite", data, given=given, delegates=("edgetpu", build(tmp_path, takes=9)))
    assert backend.run({"features": SAMPLES[:1]}).tolist() == [[0.25, 0.25, 0.25]]
