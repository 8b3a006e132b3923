import pytest

from edge_agent.inference.backends.providers import (
    CPU,
    computing_share,
    first_error,
    provider_options,
    read_placement_log,
    shares,
)

CUDA = "CUDAExecutionProvider"


def test_shares_are_of_all_nodes_and_the_largest_comes_first() -> None:
    placed = shares([(CPU, "Shape"), (CUDA, "Conv"), (CUDA, "Relu"), (CUDA, "Gemm")])
    assert list(placed.items()) == [(CUDA, 0.75), (CPU, 0.25)]
    assert shares([]) == {}


def test_nodes_that_only_handle_shapes_do_not_say_whether_a_provider_works() -> None:
    nodes = [(CPU, "Shape"), (CPU, "Gather"), (CPU, "Concat"), (CPU, "Reshape"), (CUDA, "Conv")]
    assert computing_share(nodes, CUDA) == 1.0
    assert computing_share([*nodes, (CPU, "Softmax")], CUDA) == 0.5


def test_where_no_node_computes_all_of_them_count() -> None:
    assert computing_share([(CUDA, "Reshape"), (CPU, "Cast")], CUDA) == 0.5
    assert computing_share([], CUDA) == 0.0


def test_the_placement_is_read_from_what_an_older_runtime_logs() -> None:
    log = (
        "2026-11-25 04:44:34.328 [V:onnxruntime:, session_state.cc:1260 VerifyEachNodeIsAssignedToAnEp] Node placements\n"
        "[V:onnxruntime:, session_state.cc:1266 X]  Node(s) placed on [OpenVINOExecutionProvider]. Number of nodes: 1\n"
        "[V:onnxruntime:, session_state.cc:1268 X]   OpenVINO-EP-subgraph_1 (OpenVINOExecutionProvider_subgraph_1_0)\n"
        "[V:onnxruntime:, session_state.cc:1266 X]  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 3\n"
    )
    assert read_placement_log(log) == {CPU: 0.75, "OpenVINOExecutionProvider": 0.25}
    assert read_placement_log("  All nodes placed on [CPUExecutionProvider]. Number of nodes: 8\n") == {CPU: 1.0}
    assert read_placement_log("nothing of the kind") == {}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            "\x1b[1;31m2026-11-25 04:40:32.2 [E:onnxruntime:Default, bridge.cc:2458 operator()] Failed to load library "
            "/opt/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file\n\x1b[m\n",
            "libcublasLt.so.13: cannot open shared object file",
        ),
        ("a line\n[W:onnxruntime:, x.cc:1 F] Failed to create it\n", "Failed to create it"),
        ("an error alone", "an error alone"),
        ("all is well\n", ""),
    ],
)
def test_the_first_error_of_a_librarys_output_is_told_without_what_surrounds_it(output: str, told: str) -> None:
    assert first_error(output) == told


def test_only_a_provider_that_compiles_for_minutes_is_given_a_cache() -> None:
    assert provider_options("tensorrt", "/cache")["trt_engine_cache_path"] == "/cache"
    assert provider_options("tensorrt", None) == {}
    assert provider_options("cuda", "/cache") == {}
