from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, helper

from fleet_controller.variants.pruning import prune
from tests.unit.fleet_controller.variants.conftest import HIDDEN, WIDTH, constants, graph, network, windows

INPUTS = np.array(windows(8), np.float32)


def scores(model: ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": INPUTS})[0]


def shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    return {item.name: tuple(item.dims) for item in model.graph.initializer}


def test_the_units_that_weigh_least_go_with_their_biases_and_rows() -> None:
    model, before = network(), scores(network())
    assert prune(model, 1 / 3) is not None
    left = HIDDEN - HIDDEN // 3
    assert shapes(model) == {"w1": (WIDTH, left), "b1": (left,), "w2": (left, 3), "b2": (3,)}
    # That third was made to count next to nothing; without any other the scores are far off.
    assert np.abs(scores(model) - before).max() < 0.005
    assert prune(model, 1 / 3) is not None
    assert np.abs(scores(model) - before).max() > 0.02


@pytest.mark.parametrize("activation", ["gelu", "twice"])
def test_units_are_followed_through_operators_on_single_elements(activation: str) -> None:
    values = constants() | {"root": np.float32(2**0.5), "one": np.float32(1)}
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"])]
    if activation == "gelu":
        nodes += [
            helper.make_node("Div", ["h", "root"], ["d"]),
            helper.make_node("Erf", ["d"], ["e"]),
            helper.make_node("Add", ["e", "one"], ["p"]),
            helper.make_node("Mul", ["h", "p"], ["r"]),
        ]
    else:
        nodes += [helper.make_node("Tanh", ["h"], ["t"]), helper.make_node("Mul", ["t", "h"], ["r"])]
    nodes.append(helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]))
    model = graph(nodes, values, width=WIDTH, given=3)
    before = scores(model)
    assert prune(model, 0.3) is not None
    assert shapes(model)["w1"] == (WIDTH, HIDDEN - 28)
    assert np.abs(scores(model) - before).max() < 0.01


def test_a_matrix_that_lies_the_other_way_is_cut_along_its_other_side() -> None:
    values = constants()
    values |= {"w1": values["w1"].T.copy(), "w2": values["w2"].T.copy()}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1),
    ]
    model = graph(nodes, values, width=WIDTH, given=3)
    before = scores(model)
    assert prune(model, 1 / 3) is not None
    assert shapes(model)["w1"] == (64, WIDTH)
    assert shapes(model)["w2"] == (3, 64)
    assert np.abs(scores(model) - before).max() < 0.01


def test_a_constant_that_others_read_too_is_kept_for_them() -> None:
    values = constants() | {"sum": np.ones((HIDDEN, 1), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Add", ["h", "b1"], ["hb"]),
        helper.make_node("MatMul", ["hb", "w2"], ["s"]),
        helper.make_node("MatMul", ["b1", "sum"], ["bias"]),
        helper.make_node("Add", ["s", "bias"], ["y"]),
    ]
    model = graph(nodes, values, width=WIDTH, given=3)
    before = scores(model)
    assert prune(model, 1 / 3) is not None
    assert shapes(model)["b1"] == (HIDDEN,)
    assert np.abs(scores(model) - before).max() < 0.01


def ending(*nodes: Any) -> ModelProto:
    values = constants() | {"each": np.arange(HIDDEN, dtype=np.float32), "where": np.array([-1, HIDDEN], np.int64)}
    first = helper.make_node("MatMul", ["x", "w1"], ["h"])
    given = 3 if nodes[-1].op_type == "MatMul" else HIDDEN
    return graph([first, *nodes], values, width=WIDTH, given=given)


@pytest.mark.parametrize(
    "model",
    [
        ending(helper.make_node("Softmax", ["h"], ["r"]), helper.make_node("MatMul", ["r", "w2"], ["y"])),
        ending(helper.make_node("Reshape", ["h", "where"], ["r"]), helper.make_node("MatMul", ["r", "w2"], ["y"])),
        ending(helper.make_node("Relu", ["h"], ["y"])),
        ending(helper.make_node("Mul", ["h", "each"], ["y"])),
    ],
    ids=["softmax", "reshape", "output", "no reader"],
)
def test_units_that_more_than_a_matrix_reads_stay(model: ModelProto) -> None:
    before = model.SerializeToString()
    assert prune(model, 0.5) is None
    assert model.SerializeToString() == before


def test_a_share_too_small_for_one_unit_prunes_nothing() -> None:
    assert prune(network(), 0.001) is None


CALIBRATION = [{"x": INPUTS[position : position + 1]} for position in range(len(INPUTS))]


def with_steady_units(readers: int = 1) -> ModelProto:
    """A third of the units gives always 3, whatever the input, and what reads them counts on it."""
    values = constants()
    values["w1"][:, : HIDDEN // 3] = 0
    values["b1"] = np.where(np.arange(HIDDEN) < HIDDEN // 3, np.float32(3), np.float32(0))
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["s"], alpha=0.5),
    ]
    nodes += [helper.make_node("MatMul", ["h", "w2"], ["t"]), helper.make_node("Add", ["s", "t"], ["y"])][: 2 * (readers - 1)]
    if readers == 1:
        nodes[-1].output[0] = "y"
    return graph(nodes, values, width=WIDTH, given=3)


@pytest.mark.parametrize("readers", [1, 2])
def test_with_calibration_what_units_give_on_average_is_kept(readers: int) -> None:
    model, plain = with_steady_units(readers), with_steady_units(readers)
    before = scores(model)
    assert prune(plain, 1 / 3) is not None
    assert np.abs(scores(plain) - before).max() > 0.1
    assert prune(model, 1 / 3, CALIBRATION) is not None
    assert shapes(model)["w1"] == (WIDTH, HIDDEN - HIDDEN // 3)
    assert np.abs(scores(model) - before).max() < 1e-4


def test_layers_behind_each_other_are_all_pruned() -> None:
    random = np.random.default_rng(11)
    steady = np.where(np.arange(40) < 10, np.float32(2), np.float32(0))
    values = {"b1": steady, "b2": steady, "w3": random.normal(size=(40, 3)).astype(np.float32) / 8}
    for name, width in (("w1", WIDTH), ("w2", 40)):
        values[name] = random.normal(size=(width, 40)).astype(np.float32) / 8
        values[name][:, :10] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"]),
        helper.make_node("Add", ["h1", "b1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["h2"]),
        helper.make_node("Add", ["h2", "b2"], ["a2"]),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("MatMul", ["r2", "w3"], ["y"]),
    ]
    model = graph(nodes, values, width=WIDTH, given=3)
    before = scores(model)
    assert prune(model, 0.25, CALIBRATION) is not None
    assert {name: shape for name, shape in shapes(model).items() if name.startswith("w")} == {
        "w1": (WIDTH, 30),
        "w2": (30, 30),
        "w3": (30, 3),
    }
    assert np.abs(scores(model) - before).max() < 1e-4
