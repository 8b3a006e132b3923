import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_contract.tensors import CODES, TensorSample, misfit


def read(**fields: Any) -> TensorSample:
    return msgspec.json.decode(json.dumps(fields).encode(), type=TensorSample)


def test_nested_values_and_base64_are_the_same_tensor() -> None:
    data = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    nested = read(dtype="float32", shape=[2, 3], values=[[1, 2, 3], [4, 5, 6]])
    assert nested == read(dtype="float32", shape=[2, 3], data=base64.b64encode(data).decode())
    assert (nested.data, nested.values) == (data, None)


@pytest.mark.parametrize("dtype", CODES)
def test_every_dtype_holds_small_numbers(dtype: str) -> None:
    values = [True, False] if dtype == "bool" else [1, 0]
    sample = read(dtype=dtype, shape=[2], values=values)
    assert struct.unpack(f"<2{CODES[dtype]}", sample.data or b"") == (1, 0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"dtype": "complex64", "shape": [1], "values": [1]}, "complex64"),
        ({"dtype": "float32", "shape": [0], "values": []}, "each at least 1"),
        ({"dtype": "float32", "shape": [1] * 9, "values": [1]}, "up to 8 dimensions"),
        ({"dtype": "float32", "shape": [1]}, "either `data` or `values`"),
        ({"dtype": "float32", "shape": [1], "values": [1], "data": "AAAAAA=="}, "either `data` or `values`"),
        ({"dtype": "float32", "shape": [2], "data": "AAAAAA=="}, "data has 4 bytes, float32 [2] takes 8"),
        ({"dtype": "float32", "shape": [2], "values": [1]}, "not nested"),
        ({"dtype": "float32", "shape": [2, 2], "values": [[1, 2], [3]]}, "not nested"),
        ({"dtype": "float32", "shape": [2, 2], "values": [[1, 2], 3]}, "not nested"),
        ({"dtype": "float32", "shape": [1], "values": [[1]]}, "not all are float32"),
        ({"dtype": "int8", "shape": [1], "values": [300]}, "not all are int8"),
        ({"dtype": "float16", "shape": [1], "values": [1e9]}, "not all are float16"),
        ({"dtype": "float32", "shape": [1], "values": [1], "name": "x"}, "name"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        read(**fields)
    assert text in str(caught.value)


@given(st.lists(st.integers(1, 3), max_size=4), st.recursive(st.integers() | st.none() | st.text(max_size=2), st.lists))
def test_values_of_any_nesting_are_read_or_refused_and_nothing_else(shape: list[int], values: Any) -> None:
    try:
        sample = read(dtype="int32", shape=shape, values=values if isinstance(values, list) else [values])
    except msgspec.ValidationError:
        return
    assert len(sample.data or b"") % 4 == 0


def test_free_sizes_of_the_manifest_take_any_size() -> None:
    assert misfit("float32", (3, 32, 48), "float32", (-1, 3, -1, -1)) is None
    assert misfit("float32", (4, 32, 48), "float32", (-1, 3, -1, -1)) == "has shape [4, 32, 48], the model takes [3, -1, -1]"
    assert misfit("float32", (3, 32), "float32", (-1, 3, -1, -1)) == "has shape [3, 32], the model takes [3, -1, -1]"
    assert misfit("uint8", (3,), "float32", (-1, 3)) == "is uint8, the model takes float32"
