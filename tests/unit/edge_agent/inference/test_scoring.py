import pytest

from edge_agent.inference import protocol
from edge_agent.inference.backends.port import BackendError
from edge_agent.inference.protocol import Load, TensorSpec
from edge_agent.inference.worker.scoring import Scorer


def test_a_worker_that_is_asked_for_a_feature_it_does_not_have_refuses_the_model() -> None:
    load = Load(
        bundle="",
        digest="",
        offset=0,
        size=0,
        runtime="onnx",
        runtime_min=None,
        threads=1,
        inputs=("flow",),
        features=({"op": "of_a_newer_release", "input": "flow", "args": {}},),
        mean=None,
        scale=None,
        input_tensors=(TensorSpec("features", "float32", (-1, 1)),),
        output_tensor=TensorSpec("scores", "float32", (-1, 1)),
    )
    with pytest.raises(BackendError, match="'of_a_newer_release': no such operation") as refused:
        Scorer(load, b"")
    assert refused.value.reason == protocol.MANIFEST_INVALID
