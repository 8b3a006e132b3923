"""Weights out of a safetensors file."""

import json
import struct

import numpy as np

from benchmarks.minilm import read_safetensors


def test_a_tensor_is_read_from_where_its_header_says_and_others_than_float32_are_left_out() -> None:
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
            "weight": {"dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16]},
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + struct.pack("<q", 7) + struct.pack("<2f", 0.5, -2.0)

    found = read_safetensors(content)

    assert list(found) == ["weight"]
    np.testing.assert_array_equal(found["weight"], np.array([[0.5], [-2.0]], np.float32))
