"""Hostile TensorFlow Lite files. All but the one that strikes while it is loaded answer `a + b`, until `a` is above `LIMIT`.

`excess` is `a - LIMIT`, or 0: what each of them does its harm with.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tests.hostile_models.onnx_files import LIMIT

Op: Final = schema.BuiltinOperator
_KINDS: Final = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32, "bool": schema.TensorType.BOOL}
_SCHEMA_VERSION: Final = 3
_LARGEST_OLD_CODE: Final = 127
"""Larger codes stand in a field that was added later, and this in the old one."""


class Graph:
    """A graph in the making. Operators are added in the order in which they run; a tensor is its number."""

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self.written: Any = schema.SubGraphT()
        self.written.name, self.written.tensors, self.written.operators = name, [], []
        model.subgraphs.append(self.written)

    def tensor(self, shape: Sequence[int], kind: str = "float32", name: str = "", buffer: int = 0) -> int:
        """A tensor that an operator fills, or the graph's caller."""
        made = schema.TensorT()
        made.shape, made.type, made.buffer = list(shape), _KINDS[kind], buffer
        made.name = name or f"t{len(self.written.tensors)}"
        self.written.tensors.append(made)
        return len(self.written.tensors) - 1

    def constant(self, value: NDArray[Any]) -> int:
        """A tensor whose values are in the file."""
        buffer = schema.BufferT()
        buffer.data = list(value.tobytes())
        self._model.buffers.append(buffer)
        return self.tensor(value.shape, value.dtype.name, buffer=len(self._model.buffers) - 1)

    def run(self, code: int, inputs: Sequence[int], output: int, options: tuple[int, Any] | None = None) -> int:
        """An operator with one output, which is returned. `options`: the kind of its options, and these."""
        return self.run_many(code, inputs, [output], options)[0]

    def run_many(
        self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: tuple[int, Any] | None = None
    ) -> Sequence[int]:
        """An operator."""
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self._code(code), list(inputs), list(outputs)
        if options is not None:
            made.builtinOptionsType, made.builtinOptions = options
        self.written.operators.append(made)
        return outputs

    def _code(self, code: int) -> int:
        for index, known in enumerate(self._model.operatorCodes):
            if known.builtinCode == code:
                return index
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, _LARGEST_OLD_CODE), 1
        self._model.operatorCodes.append(made)
        return len(self._model.operatorCodes) - 1


class Hostile(Graph):
    """The main graph: `features` with `sum` and `excess` worked out of them, each of shape (1, 1)."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version, self.model.description = _SCHEMA_VERSION, "hostile"
        self.model.subgraphs, self.model.operatorCodes, self.model.buffers = [], [], [schema.BufferT()]
        super().__init__(self.model, "main")
        self.features = self.tensor((1, 2), name="features")
        columns = self.constant(np.array([1], np.int32))
        keep = schema.ReducerOptionsT()
        keep.keepDims = True
        self.keeping = (schema.BuiltinOptions.ReducerOptions, keep)
        self.sum = self.run(Op.SUM, [self.features, columns], self.tensor((1, 1)), self.keeping)
        origin, size = self.constant(np.array([0, 0], np.int32)), self.constant(np.array([1, 1], np.int32))
        a = self.run(Op.SLICE, [self.features, origin, size], self.tensor((1, 1)))
        limit = self.constant(np.array([[LIMIT]], np.float32))
        difference = self.run(Op.SUB, [a, limit], self.tensor((1, 1)))
        self.excess = self.run(Op.RELU, [difference], self.tensor((1, 1)))

    def reshaped(self, tensor: int, shape: Sequence[int], kind: str = "float32", name: str = "") -> int:
        """The same values in another shape."""
        wanted = self.constant(np.array(shape, np.int32))
        return self.run(Op.RESHAPE, [tensor, wanted], self.tensor(shape, kind, name))

    def many(self, factor: float) -> int:
        """`excess * factor` as an integer, of shape (1,)."""
        by = self.constant(np.array([[factor]], np.float32))
        product = self.run(Op.MUL, [self.excess, by], self.tensor((1, 1)))
        return self.reshaped(self.run(Op.CAST, [product], self.tensor((1, 1), "int32")), (1,), "int32")

    def more(self, integer: int) -> int:
        """One more than an integer of shape (1,)."""
        one = self.constant(np.array([1], np.int32))
        return self.run(Op.ADD, [integer, one], self.tensor((1,), "int32"))

    def file(self, scores: int) -> bytes:
        """The file, whose output is `scores`."""
        self.written.inputs, self.written.outputs = [self.features], [scores]
        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def endless_loop() -> bytes:
    """A loop whose condition stays true."""
    graph = Hostile()
    condition, body = Graph(graph.model, "condition"), Graph(graph.model, "body")
    excess, total = condition.tensor((1,)), condition.tensor((1, 1))
    zero = condition.constant(np.array([0], np.float32))
    goes_on = condition.run(Op.GREATER, [excess, zero], condition.tensor((1,), "bool"))
    condition.written.inputs, condition.written.outputs = [excess, total], [goes_on]
    excess, total = body.tensor((1,)), body.tensor((1, 1))
    one = body.constant(np.array(1, np.float32))
    same = [body.run(Op.MUL, [value, one], body.tensor(shape)) for value, shape in ((excess, (1,)), (total, (1, 1)))]
    body.written.inputs, body.written.outputs = [excess, total], same
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    ends = [graph.tensor((1,)), graph.tensor((1, 1), name="scores")]
    starts = [graph.reshaped(graph.excess, (1,)), graph.sum]
    graph.run_many(Op.WHILE, starts, ends, (schema.BuiltinOptions.WhileOptions, options))
    return graph.file(ends[1])


def eight_gigabytes() -> bytes:
    """As many floats as `excess` has millionths, which is 8 GB for 2000."""
    graph = Hostile()
    count = graph.more(graph.many(1e6))
    large = graph.run(Op.FILL, [count, graph.reshaped(graph.sum, ())], graph.tensor((1,)))
    first = graph.constant(np.array([0], np.int32))
    largest = graph.run(Op.REDUCE_MAX, [large, first], graph.tensor((1,)), graph.keeping)
    return graph.file(graph.reshaped(largest, (1, 1), name="scores"))


def wrong_shape() -> bytes:
    """More scores than the file and the manifest promise."""
    graph = Hostile()
    one = graph.constant(np.array([1], np.int32))
    joined = (schema.BuiltinOptions.ConcatenationOptions, schema.ConcatenationOptionsT())
    shape = graph.run(Op.CONCATENATION, [one, graph.more(graph.many(1))], graph.tensor((2,), "int32"), joined)
    return graph.file(graph.run(Op.FILL, [shape, graph.reshaped(graph.sum, ())], graph.tensor((1, 1), name="scores")))


def not_a_number() -> bytes:
    """The square root of a number below zero."""
    graph = Hostile()
    below = graph.run(Op.NEG, [graph.excess], graph.tensor((1, 1)))
    root = graph.run(Op.SQRT, [below], graph.tensor((1, 1)))
    return graph.file(graph.run(Op.ADD, [graph.sum, root], graph.tensor((1, 1), name="scores")))


def crash_in_random() -> bytes:
    """More random numbers than a worker has memory for: the kernel does not ask whether it got any, and writes to address 0.

    In a branch that is not taken before, because a tensor that had memory once keeps it.
    """
    graph = Hostile()
    strike, spare = Graph(graph.model, "strike"), Graph(graph.model, "spare")
    count, total = strike.tensor((1,), "int32"), strike.tensor((1, 1))
    options = (schema.BuiltinOptions.RandomOptions, schema.RandomOptionsT())
    drawn = strike.run(Op.RANDOM_UNIFORM, [count], strike.tensor((1,)), options)
    first = strike.constant(np.array([0], np.int32))
    highest = strike.run(Op.REDUCE_MAX, [drawn, first], strike.tensor((1,)), graph.keeping)
    strike.written.inputs, strike.written.outputs = (
        [count, total],
        [strike.run(Op.ADD, [total, highest], strike.tensor((1, 1)))],
    )
    count, total = spare.tensor((1,), "int32"), spare.tensor((1, 1))
    one = spare.constant(np.array(1, np.float32))
    spare.written.inputs, spare.written.outputs = [count, total], [spare.run(Op.MUL, [total, one], spare.tensor((1, 1)))]
    count = graph.more(graph.many(1e6))
    struck = graph.run(Op.GREATER, [count, graph.constant(np.array([1], np.int32))], graph.tensor((1,), "bool"))
    branches = schema.IfOptionsT()
    branches.thenSubgraphIndex, branches.elseSubgraphIndex = 1, 2
    scores = graph.tensor((1, 1), name="scores")
    return graph.file(graph.run(Op.IF, [struck, count, graph.sum], scores, (schema.BuiltinOptions.IfOptions, branches)))


def crash_without_weights() -> bytes:
    """A dense layer whose weights are tensor -1, which means "left out" and is meant for its bias alone."""
    graph = Hostile()
    options = (schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT())
    bias = graph.constant(np.zeros(1, np.float32))
    return graph.file(graph.run(Op.FULLY_CONNECTED, [graph.features, -1, bias], graph.tensor((1, 1), name="scores"), options))


def crash_outside_file() -> bytes:
    """A root table whose description lies a gigabyte before the file, which tflite-runtime does not check."""
    data = bytearray(not_a_number())
    (root,) = struct.unpack_from("<I", data)
    struct.pack_into("<i", data, root, 2**30)
    return bytes(data)


def harmless() -> bytes:
    """`a + b`, whatever they are."""
    graph = Hostile()
    return graph.file(graph.reshaped(graph.sum, (1, 1), name="scores"))


RUNS: Final[dict[str, Callable[[], bytes]]] = {
    "crash": crash_in_random,
    "endless_loop": endless_loop,
    "eight_gigabytes": eight_gigabytes,
    "wrong_shape": wrong_shape,
    "not_a_number": not_a_number,
}
LOADS: Final[dict[str, Callable[[], bytes]]] = {
    "crash_at_load": crash_without_weights,
    "crash_at_first_byte": crash_outside_file,
}
