"""The variants of a release in the signed metadata, and what can run on this device, found without importing a runtime.

This is the trust child's part: the daemon neither reads metadata nor loads what finds installed distributions.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from tuf.api.metadata import Targets

from edge_agent.updates.picking import Choice, Configured, Device, Offer, pick
from edge_agent.updates.trust.job import Job
from fleet_contract.trust import Release, parse_release, target_path

PACKAGES: Final = {
    "onnx": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-rocm"),
    "tflite": ("tflite-runtime", "ai-edge-litert", "tensorflow"),
}
"""Runtime to the distributions that bring it."""
BRINGS: Final = {
    "onnxruntime": ("cpu",),
    "onnxruntime-gpu": ("cpu", "cuda", "tensorrt"),
    "onnxruntime-openvino": ("cpu", "openvino"),
    "onnxruntime-qnn": ("cpu", "qnn"),
    "onnxruntime-rocm": ("cpu", "rocm", "migraphx"),
    "tflite-runtime": ("cpu", "xnnpack"),
    "ai-edge-litert": ("cpu", "xnnpack"),
    "tensorflow": ("cpu", "xnnpack"),
}
"""Distribution to the accelerators in it. Whether one really works shows when the golden samples are run."""
PROBE_SECONDS: Final = 30.0
_PROBE: Final = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Picked:
    """The choice, and the path of what was picked; None where nothing was."""

    choice: Choice
    path: str | None


def pick_variant(job: Job, signed: Targets) -> Picked | None:
    """Choose among the targets of the job's release; None where the metadata has none."""
    offers = {}
    for path, target in signed.targets.items():
        try:
            release: Release = parse_release(target.custom)
            named = target_path(release.model, release.release, release.variant)
        except ValueError:
            continue
        if named == path and (release.model, release.release) == (job.model, job.release):
            have = job.have is not None and job.have == f"sha256:{target.hashes.get('sha256')}"
            offers[path] = Offer(variant=release.variant, length=target.length, facts=release.facts, on_disk=have)
    if not offers:
        return None
    choice = pick(list(offers.values()), look_at_device(job.device, Path(job.download_dir)))
    return Picked(choice, next((path for path, offer in offers.items() if offer is choice.picked), None))


def look_at_device(configured: Configured, folder: Path) -> Device:
    """What can run here; `folder` is on the disk that bundles are kept on."""
    runtimes: dict[str, str] = {}
    accelerators = set(configured.accelerators)
    for runtime, packages in PACKAGES.items():
        for package, version in _installed(packages, configured.python.get(runtime)).items():
            runtimes.setdefault(runtime, f"{package} {version}")
            accelerators.update(BRINGS[package])
    return Device(
        runtimes=runtimes,
        accelerators=frozenset(accelerators),
        disk_bytes=shutil.disk_usage(folder).free,
        configured=configured,
    )


def _installed(packages: tuple[str, ...], python: str | None) -> dict[str, str]:
    """Those of the distributions that an interpreter has, with their versions. One that cannot be asked has none."""
    if python is None or python == sys.executable:
        found = {}
        for package in packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return found
    try:
        asked = subprocess.run(
            [python, "-c", _PROBE, *packages], capture_output=True, timeout=PROBE_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        return {str(name): str(version) for name, version in json.loads(asked.stdout).items()}
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
