import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from fleet_controller.variants.graph_facts import graph_facts
from fleet_controller.variants.kinds import Kind
from fleet_controller.variants.making import VariantImpossible, make_variant
from tests.unit.fleet_controller.variants.conftest import HIDDEN, WIDTH, constants, graph, network, windows

INPUTS = np.array(windows(24), np.float32)
CALIBRATION = [{"x": INPUTS[position : position + 1]} for position in range(len(INPUTS))]
PRUNED = 0.25


def scores(model: ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": INPUTS})[0]


def made(kind: Kind, model: ModelProto) -> ModelProto:
    return make_variant(kind, model, CALIBRATION, PRUNED)


@pytest.mark.parametrize(
    ("kind", "stored", "furthest"),
    [
        (Kind.INT8, "int8", 0.02),
        (Kind.INT8_STATIC, "int8", 0.03),
        (Kind.INT4, "int4", 0.15),
        (Kind.FP16, "float16", 0.005),
    ],
)
def test_a_variant_stores_its_weights_narrow_and_answers_nearly_the_same(kind: Kind, stored: str, furthest: float) -> None:
    source = network()
    variant = made(kind, source)
    facts = graph_facts(variant)
    assert facts.stored[stored] >= (WIDTH + 3) * HIDDEN
    assert facts.narrow_share > 0.95
    assert variant.ByteSize() < source.ByteSize() * 0.6
    assert 0 < np.abs(scores(variant) - scores(source)).max() < furthest


@pytest.mark.parametrize("kind", [Kind.INT8, Kind.INT8_STATIC, Kind.INT4])
def test_what_is_quantised_is_computed_with_integers(kind: Kind) -> None:
    facts = graph_facts(made(kind, network()))
    assert (facts.heavy, facts.narrow_heavy) == (2, 2)


def test_a_pruned_variant_is_smaller_and_nothing_is_stored_narrow() -> None:
    source = network()
    variant = made(Kind.PRUNED, source)
    assert graph_facts(variant).narrow_share == 0
    assert variant.ByteSize() < source.ByteSize() * 0.8
    assert np.abs(scores(variant) - scores(source)).max() < 0.005


@pytest.mark.parametrize("kind", Kind)
def test_the_source_is_left_as_it_is(kind: Kind) -> None:
    source = network()
    before = source.SerializeToString()
    made(kind, source)
    assert source.SerializeToString() == before


@pytest.mark.parametrize("kind", Kind)
def test_no_variant_names_an_operator_domain_that_it_does_not_use(kind: Kind) -> None:
    variant = made(kind, network())
    assert {item.domain for item in variant.opset_import} == {node.domain for node in variant.graph.node}


@pytest.mark.parametrize("kind", Kind)
def test_a_model_without_weights_to_narrow_is_refused_with_its_operators(kind: Kind) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("Sqrt", ["s"], ["y"])]
    with pytest.raises(VariantImpossible, match="this model has Softmax, Sqrt"):
        made(kind, graph(nodes, {}, width=WIDTH, given=WIDTH))


def test_an_embedding_of_an_int4_variant_is_int8() -> None:
    table = np.random.default_rng(3).normal(size=(50, WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "w1"], ["y"]),
    ]
    model = graph(nodes, {"table": table, "w1": constants()["w1"]}, width=WIDTH, given=HIDDEN)
    facts = graph_facts(made(Kind.INT4, model))
    assert facts.stored["int4"] == WIDTH * HIDDEN
    assert facts.stored["int8"] >= 50 * WIDTH


def test_a_bias_in_two_dimensions_does_not_break_static_quantisation() -> None:
    values = constants()
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["y"]),
    ]
    values |= {"b1": values["b1"].reshape(1, -1), "b2": values["b2"].reshape(1, -1)}
    source = graph(nodes, values, width=WIDTH, given=3)
    variant = made(Kind.INT8_STATIC, source)
    assert np.abs(scores(variant) - scores(source)).max() < 0.2


def test_a_failing_tool_is_told_of_in_one_line() -> None:
    with pytest.raises(VariantImpossible, match="the tool for int8-static failed: ") as caught:
        make_variant(Kind.INT8_STATIC, network(), [{"y": INPUTS[:1]}])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_stored_narrow_but_computes_with_float32_is_seen_through() -> None:
    weights = np.ones((WIDTH, 4), np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["wide"]),
        helper.make_node("Abs", ["wide"], ["positive"]),
        helper.make_node("MatMul", ["x", "positive"], ["y"]),
    ]
    facts = graph_facts(graph(nodes, {"w": weights, "scale": np.float32(0.5)}, width=WIDTH, given=4))
    assert facts.narrow_share > 0.99
    assert (facts.heavy, facts.narrow_heavy) == (1, 0)


def test_weights_in_attributes_count_as_float32() -> None:
    attributes = {"coefficients": [0.5] * 3 * WIDTH, "intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2]}
    node = helper.make_node("LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **attributes)
    made_graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    facts = graph_facts(helper.make_model(made_graph, opset_imports=opsets, ir_version=8))
    assert facts.stored == {"float32": 3 * WIDTH + 3}
    assert (facts.heavy, facts.narrow_heavy) == (1, 0)


@pytest.mark.parametrize("kind", [Kind.INT8, Kind.INT4, Kind.FP16, Kind.PRUNED])
def test_weights_that_stand_in_nodes_are_seen(kind: Kind) -> None:
    source = network()
    for tensor in list(source.graph.initializer):
        source.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del source.graph.initializer[:]
    variant = made(kind, source)
    assert not any(node.op_type == "Constant" for node in variant.graph.node)
    assert variant.ByteSize() < source.ByteSize() * 0.8


def convolutions(opset: int) -> ModelProto:
    random = np.random.default_rng(5)
    kernels = random.normal(size=(8, 1, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["x"], ["u"], axes=[1]),
        helper.make_node("Conv", ["u", "k"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["y"], axes=[2], keepdims=0),
    ]
    return graph(nodes, {"k": kernels}, width=WIDTH, given=8, opset=opset)


def test_convolutions_are_quantised_with_fixed_ranges_alone_and_from_an_old_operator_set_too() -> None:
    source = convolutions(opset=11)
    variant = made(Kind.INT8_STATIC, source)
    assert {item.domain: item.version for item in variant.opset_import}[""] == 13
    assert graph_facts(variant).narrow_heavy == 1
    assert np.abs(scores(variant) - scores(source)).max() < 0.1
    with pytest.raises(VariantImpossible, match="this model has Conv, ReduceMean, Relu, Unsqueeze"):
        made(Kind.INT8, source)


def test_a_tool_that_finds_nothing_to_make_narrower_is_found_out() -> None:
    # Constant, but on the left: no quantiser takes it for weights.
    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node("MatMul", ["w", "t"], ["m"])]
    nodes.append(helper.make_node("Transpose", ["m"], ["y"]))
    model = graph(nodes, {"w": np.ones((4, WIDTH), np.float32)}, width=WIDTH, given=4)
    with pytest.raises(VariantImpossible, match="found nothing to make narrower"):
        made(Kind.INT4, model)


def test_a_normalisation_of_small_variance_survives_float16() -> None:
    kernels = np.random.default_rng(5).normal(size=(8, 1, 3)).astype(np.float32) * 1e-5
    norm = {"scale": np.ones(8, np.float32), "shift": np.zeros(8, np.float32), "mean": np.zeros(8, np.float32)}
    nodes = [
        helper.make_node("Unsqueeze", ["x"], ["u"], axes=[1]),
        helper.make_node("Conv", ["u", "k"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"], epsilon=0.0),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["y"], axes=[2], keepdims=0),
    ]
    values = {"k": kernels, "variance": np.full(8, 1e-10, np.float32), **norm}
    source = graph(nodes, values, width=WIDTH, given=8, opset=11)
    assert np.abs(scores(made(Kind.FP16, source)) - scores(source)).max() < 0.01


def test_packed_weights_that_are_widened_to_multiply_are_no_integer_arithmetic() -> None:
    variant = made(Kind.INT4, network())
    for node in variant.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    facts = graph_facts(variant)
    assert facts.narrow_share > 0.95
    assert (facts.heavy, facts.narrow_heavy) == (2, 0)
