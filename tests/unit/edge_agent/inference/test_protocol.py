import ast
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_agent.inference
from edge_agent.inference import protocol
from edge_agent.inference.answers import Failure
from edge_agent.inference.process import read_scores
from edge_agent.inference.protocol import Failed, ProtocolError, Reader, Run, Scores, pack
from fleet_contract.reasons import Reason

ROOM = Path(edge_agent.inference.__file__).parent


@given(st.lists(st.tuples(st.integers(0, 2**31), st.binary(max_size=200)), max_size=5), st.integers(1, 50))
def test_frames_survive_any_cut_of_the_stream(frames: list[tuple[int, bytes]], step: int) -> None:
    headers = [Scores(number=number, width=1, faults={0: ("bad_output", "x")}) for number, _ in frames]
    stream = b"".join(pack(header, [body]) for header, (_, body) in zip(headers, frames, strict=True))
    reader, got = Reader(), []
    for start in range(0, len(stream), step):
        reader.feed(stream[start : start + step])
        while (frame := reader.next()) is not None:
            got.append(frame)
    assert got == [(header, body) for header, (_, body) in zip(headers, frames, strict=True)]


@given(st.binary(min_size=8, max_size=200))
def test_random_bytes_are_no_frame_and_never_another_error(data: bytes) -> None:
    reader = Reader()
    reader.feed(data)
    try:
        while reader.next() is not None:
            pass
    except ProtocolError:
        return


def test_a_frame_that_claims_too_much_is_refused_before_it_is_gathered() -> None:
    reader = Reader()
    reader.feed(protocol.LENGTHS.pack(10, protocol.MAX_FRAME_BYTES))
    with pytest.raises(ProtocolError):
        reader.next()


def test_every_code_of_a_worker_is_a_reason_of_the_contract() -> None:
    assert all(Reason(code) for code in protocol.CODES)
    reader = Reader()
    reader.feed(pack(Failed(reason=protocol.LOAD_FAILED, detail="text")) + pack(Run(number=1, lengths=[[1, 0]], texts=None)))
    assert reader.next() == (Failed(reason="load_failed", detail="text"), b"")


def test_scores_are_read_with_the_faults_of_single_items() -> None:
    from array import array

    header = Scores(number=1, width=2, faults={1: ("wrong_shape", "lacks a value")})
    got = read_scores(header, array("d", [1.0, 2.0, math.nan, 0.0]).tobytes(), 2)
    assert got == [(1.0, 2.0), Failure(Reason.WRONG_SHAPE, "lacks a value")]
    with pytest.raises(ProtocolError):
        read_scores(header, b"12345678", 2)


@pytest.mark.parametrize(
    "path",
    [
        ROOM.parent / "__init__.py",
        ROOM / "__init__.py",
        ROOM / "protocol.py",
        ROOM / "shared_memory.py",
        *ROOM.glob("worker/*.py"),
        *ROOM.glob("backends/*.py"),
    ],
    ids=lambda path: path.parent.name + "/" + path.name,
)
def test_what_runs_in_the_worker_is_python_310_and_imports_nothing_of_the_daemon(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert not name.startswith(("fleet_contract", "fleet_controller", "tomllib"))
            if name.startswith("edge_agent") and name != "edge_agent.inference":
                assert name.startswith(
                    tuple(f"edge_agent.inference.{name}" for name in ("worker", "backends", "protocol", "shared_memory"))
                )
