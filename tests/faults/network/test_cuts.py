"""A 50 MB bundle from the real service, cut at every 5 %."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from benchmarks.bench_world import make_bundle
from benchmarks.update_world import Controller, controller
from benchmarks.updates import make_model, make_weights
from edge_agent.updates.trust.job import Progress
from fleet_contract.reasons import Reason
from fleet_controller.demo.proxy import Proxy
from tests.faults.network.lab import MODEL, make_device

SIZE_MB: Final = 50
CUTS: Final = 19


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    make_model(folder / "table.onnx", make_weights(5, SIZE_MB, "old"))
    return make_bundle(folder, MODEL, folder / "table.onnx")


@pytest.fixture
def service(tmp_path: Path, bundle: Path, free_port: Callable[[], int]) -> Iterator[Controller]:
    with controller(tmp_path, free_port(), free_port()) as running:
        running.publish(bundle)
        yield running


def test_a_download_that_is_cut_at_every_twentieth_goes_on_where_it_stopped(
    service: Controller, bundle: Path, proxy: Callable[[int], Proxy], tmp_path: Path
) -> None:
    link = proxy(service.port)
    device = make_device(tmp_path / "device", service.root, f"http://127.0.0.1:{link.port}", service.token)
    whole = bundle.stat().st_size
    metadata = device.run(have="sha256:" + hashlib.sha256(bundle.read_bytes()).hexdigest()).done.received
    before, received = link.answered, 0
    for cut in range(1, CUTS + 1):
        # What the next attempt fetches is what its metadata (some hundred bytes now, and headers) leaves of this.
        link.reset_after(whole * cut // (CUTS + 1) - device.part() + metadata)
        failed = device.run().failed
        assert (failed.reason, failed.temporary) == (Reason.DOWNLOAD_FAILED, True)
        assert "connection broke" in failed.detail
        assert abs(device.part() - whole * cut // (CUTS + 1)) < whole * 0.005
        received += failed.received
    link.restore()
    run = device.run()
    received += run.done.received
    assert run.done.path is not None
    assert hashlib.sha256(Path(run.done.path).read_bytes()).hexdigest() == run.done.digest.removeprefix("sha256:")
    assert run.done.digest == "sha256:" + hashlib.sha256(bundle.read_bytes()).hexdigest()
    answered = link.answered - before
    print(f"{whole} bytes, {CUTS} cuts: {answered} bytes through the link, {(answered - whole) / whole:.2%} more than once")
    assert whole < answered <= whole * 1.02
    assert whole < received <= answered
    assert any(isinstance(line, Progress) for line in run.lines)
