import numpy as np
import pytest

from edge_agent.inference.protocol import Load, TensorSpec
from edge_agent.inference.worker.postprocess import normalise, pool, postprocess, sigmoid, softmax


def load(pooling: str = "none", activation: str = "none", normalised: bool = False) -> Load:
    return Load(
        bundle="",
        digest="",
        offset=0,
        size=0,
        runtime="onnx",
        runtime_min=None,
        threads=1,
        inputs=(),
        features=(),
        mean=None,
        scale=None,
        input_tensors=(),
        output_tensor=TensorSpec("y", "float32", (-1, -1, 2)),
        pooling=pooling,
        activation=activation,
        normalise=normalised,
    )


STATES = np.array([[[1, 2], [3, 4], [50, 60]], [[9, 9], [5, 6], [7, 8]]], np.float32)
MASK = np.array([[1, 1, 0], [0, 1, 1]])
"""Padding stands behind the first text and before the second."""


def test_the_mean_is_that_of_the_tokens_and_not_of_the_padding() -> None:
    assert pool(STATES, MASK, "mean").tolist() == [[2, 3], [6, 7]]


def test_the_first_token_is_the_first_that_is_no_padding() -> None:
    assert pool(STATES, MASK, "cls").tolist() == [[1, 2], [5, 6]]


def test_an_output_for_another_number_of_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="for 3 tokens, the texts have 2"):
        pool(STATES, MASK[:, :2], "mean")


def test_softmax_adds_up_to_one_also_where_the_numbers_are_large() -> None:
    shares = softmax(np.array([[1000, 1000, -1000], [0, np.log(3), -1000]], np.float32))
    assert shares == pytest.approx(np.array([[0.5, 0.5, 0], [0.25, 0.75, 0]]), abs=1e-6)


def test_sigmoid_is_right_at_both_ends_and_never_overflows() -> None:
    with np.errstate(all="raise", under="ignore"):
        got = sigmoid(np.array([[-1e4, -1, 0, 1, 1e4]], np.float32))
    assert got == pytest.approx(np.array([[0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1]]), abs=1e-6)


def test_rows_get_length_one_and_zeros_stay_zeros() -> None:
    assert normalise(np.array([[3, 4], [0, 0]], np.int64)).tolist() == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_pooling_comes_before_the_activation_and_length_one_is_last() -> None:
    got = postprocess(load("mean", "sigmoid", normalised=True))(STATES, MASK)
    assert got == pytest.approx(normalise(sigmoid(pool(STATES, MASK, "mean"))))


def test_without_a_wish_the_output_stays_as_it_is() -> None:
    assert postprocess(load())(STATES, None) is STATES
