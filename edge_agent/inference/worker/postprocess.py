"""From a model's output to scores, as the manifest asks for it: pooling over tokens, activation, length 1. Pure."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference.protocol import Load

Rows = NDArray[Any]
"""The output for several items, the items in the first dimension."""


def postprocess(load: Load) -> Callable[[Rows, "Rows | None"], Rows]:
    """What is done to the rows of a batch; beside them it takes the mask of the texts' tokens, shape (items, tokens)."""
    steps: list[Callable[[Rows], Rows]] = []
    if load.activation != "none":
        steps.append(_ACTIVATIONS[load.activation])
    if load.normalise:
        steps.append(normalise)

    def process(rows: Rows, mask: "Rows | None") -> Rows:
        if load.pooling != "none" and mask is not None:
            rows = pool(rows, mask, load.pooling)
        for step in steps:
            rows = step(rows)
        return rows

    return process


def pool(rows: Rows, mask: Rows, how: str) -> Rows:
    """(items, tokens, width) to (items, width): the `mean` of the tokens that the mask has, or the first of these for `cls`.

    Mean pooling as in Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019). Raises ValueError when rows and mask differ in size.
    """
    if rows.shape[:2] != mask.shape:
        raise ValueError(f"the output is for {rows.shape[1]} tokens, the texts have {mask.shape[1]}")
    if how == "cls":
        first: Rows = rows[np.arange(len(rows)), mask.argmax(axis=1)]
        return first
    weights = mask.astype(np.float32)
    sums = np.einsum("itw,it->iw", rows.astype(np.float32, copy=False), weights)
    means: Rows = sums / weights.sum(axis=1, keepdims=True)
    return means


def softmax(rows: Rows) -> Rows:
    """Over the last dimension."""
    real = _real(rows)
    powers = np.exp(real - real.max(axis=-1, keepdims=True))
    shares: Rows = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(rows: Rows) -> Rows:
    """Of each number. Written so that large negative numbers give 0 and no overflow."""
    real = _real(rows)
    powers = np.exp(-np.abs(real))
    result: Rows = np.where(real >= 0, 1, powers) / (1 + powers)
    return result


def normalise(rows: Rows) -> Rows:
    """Over the last dimension to Euclidean length 1; zeros stay zeros."""
    real = _real(rows)
    lengths = np.linalg.norm(real, axis=-1, keepdims=True)
    result: Rows = real / np.where(lengths == 0, 1, lengths)
    return result


_ACTIVATIONS: "dict[str, Callable[[Rows], Rows]]" = {"softmax": softmax, "sigmoid": sigmoid}


def _real(rows: Rows) -> Rows:
    return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float32)
