"""What a worker that a model has taken over may send: the daemon's side knows a frame or refuses it, whatever it is."""

import array
import struct
from collections import Counter
from random import Random

import pytest

from edge_agent.inference import protocol
from edge_agent.inference.process import read_scores
from tests.fuzz import plain
from tests.fuzz_models.mutations import TOKENS, change_bytes

ITEMS = 3
SCORES = array.array("d", [0.5, 0.25, 0.125, 1.0, 2.0, float("nan")])
TENSORS = tuple(protocol.TensorPart("scores", "float32", (1, 2), 8) for _ in range(ITEMS))
FRAMES = [
    protocol.pack(
        protocol.Ready(digest="0" * 64, provider="XNNPACK", placement={"XNNPACK": 1.0}, runtime_version="ai-edge-litert 2")
    ),
    protocol.pack(protocol.Failed(reason="load_failed", detail="no such operator")),
    protocol.pack(protocol.Scores(number=1, width=2, faults={2: ("bad_output", "not finite")}), [SCORES.tobytes()]),
    protocol.pack(protocol.Scores(number=1, width=0, faults={}, outputs=list(TENSORS)), [struct.pack("<6f", *SCORES)]),
]


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_bytes_that_are_no_frame_are_a_protocol_error_and_nothing_else(number: int) -> None:
    random = Random(number)
    seen: Counter[str] = Counter()
    for turn in range(3000):
        seed = FRAMES[number]
        data = change_bytes(random, seed) if turn % 2 else plain.mutate(random, seed, FRAMES, TOKENS)
        reader = protocol.Reader()
        reader.feed(data)
        try:
            while (frame := reader.next()) is not None:
                header, body = frame
                seen["read"] += 1
                if isinstance(header, protocol.Scores):
                    results = read_scores(header, body, ITEMS)
                    assert len(results) == ITEMS
        except protocol.ProtocolError:
            seen["refused"] += 1
    assert seen["refused"] > 500
    assert seen["read"] > 100


def test_a_header_of_endless_depth_is_refused() -> None:
    head = b"\x91" * 100_000
    reader = protocol.Reader()
    reader.feed(protocol.LENGTHS.pack(len(head), 0) + head)
    with pytest.raises(protocol.ProtocolError):
        reader.next()
