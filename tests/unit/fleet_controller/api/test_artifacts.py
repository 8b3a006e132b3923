import hashlib
import http.client
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from fleet_contract.delta import delta_name
from fleet_contract.trust import DELTAS_PATH, METADATA_PATH, TARGETS_PATH, parse_release
from fleet_controller.registry.bundles import build_bundle, measure_bundle
from fleet_controller.registry.publication import next_release, with_release


class WithToken(FetcherInterface):
    def __init__(self, token: str) -> None:
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"})

    def _fetch(self, url: str) -> Iterator[bytes]:
        answer = self._client.get(url)
        if answer.status_code != 200:
            raise DownloadHTTPError(answer.text, answer.status_code)
        return iter([answer.content])


@pytest.fixture
def device(served, request):
    name = "device-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    with served.client() as client:
        answer = client.post("/api/v1/devices", json={"device": name})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def published(served, model_folder: Callable[..., Path], tmp_path: Path, request):
    name = "model-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    bundle = tmp_path / f"{name}.tar"
    build_bundle(model_folder(name, content=bytes(range(256)) * 4000), bundle)
    done = served.fleet_json("model", "add", bundle, "--key", served.release_key)
    return done, bundle.read_bytes()


def _url(release) -> str:
    return f"{TARGETS_PATH}models/{release['model']}/{release['digest'].removeprefix('sha256:')}.{release['release']}.tar"


def test_a_tuf_client_with_the_devices_token_verifies_and_downloads_a_release(served, device, published, tmp_path) -> None:
    release, content = published
    folder = tmp_path / "client"
    folder.mkdir()
    updater = Updater(
        metadata_dir=str(folder),
        metadata_base_url=served.url + METADATA_PATH,
        target_dir=str(folder),
        target_base_url=served.url + TARGETS_PATH,
        fetcher=WithToken(device["token"]),
        config=UpdaterConfig(),
        bootstrap=device["root"].encode(),
    )
    updater.refresh()
    target = updater.get_targetinfo(f"models/{release['model']}/1.tar")
    assert target is not None
    assert parse_release(target.custom).version == "1.0.0"
    assert Path(updater.download_target(target)).read_bytes() == content


def test_a_download_can_be_resumed_with_range(served, device, published) -> None:
    release, content = published
    with served.client(device["token"]) as client:
        whole = client.get(_url(release))
        assert (whole.status_code, whole.content) == (200, content)
        assert whole.headers["accept-ranges"] == "bytes"
        rest = client.get(_url(release), headers={"Range": "bytes=600000-", "If-Range": whole.headers["etag"]})
        assert (rest.status_code, rest.content) == (206, content[600000:])
        assert rest.headers["content-range"] == f"bytes 600000-{len(content) - 1}/{len(content)}"
        assert int(rest.headers["content-length"]) == len(content) - 600000
        other = client.get(_url(release), headers={"Range": "bytes=5-", "If-Range": '"another"'})
        assert (other.status_code, other.content) == (200, content)
        beyond = client.get(_url(release), headers={"Range": f"bytes={len(content)}-"})
        assert beyond.status_code == 416
        assert beyond.headers["content-range"] == f"bytes */{len(content)}"
        assert client.get(_url(release), headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_a_delta_is_made_after_a_publication_shown_and_served_with_range(
    served, device, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(500_000)
    digests = []
    for version, weights in (("1.0.0", content), ("1.1.0", content[:-9] + b"tuned")):
        bundle = tmp_path / f"{version}.tar"
        build_bundle(model_folder("tuned", version, weights), bundle)
        digests.append(served.fleet_json("model", "add", bundle, "--key", served.release_key)["digest"])
    end = time.monotonic() + 60
    while not (deltas := served.fleet_json("model", "show", "tuned")[-1]["deltas"]):
        assert time.monotonic() < end
    assert deltas[0]["from"] == 1
    assert 0 < deltas[0]["bytes"] < 5_000
    assert "from release 1" in served.fleet("model", "show", "tuned").stdout
    url = DELTAS_PATH + delta_name(*digests)
    with served.client(device["token"]) as client:
        whole = client.get(url)
        assert (whole.status_code, len(whole.content)) == (200, deltas[0]["bytes"])
        rest = client.get(url, headers={"Range": "bytes=100-"})
        assert (rest.status_code, rest.content) == (206, whole.content[100:])
        assert client.get(DELTAS_PATH + delta_name(digests[1], digests[0])).status_code == 404
        assert client.get(url.replace(".delta", ".none")).status_code == 404
    with served.client("wrong") as client:
        assert client.get(url).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "../operator.token",
        "..%2foperator.token",
        "%2e%2e/%2e%2e/operator.token",
        "models/..%2f..%2f..%2foperator.token",
        "..%5coperator.token",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        ".",
        "models",
        "timestamp.json%00",
    ],
)
def test_no_path_leads_out_of_the_repository(served, path: str) -> None:
    # http.client sends the path as it is, where other clients would tidy it up.
    place = urlparse(served.url)
    for base in (METADATA_PATH, TARGETS_PATH, DELTAS_PATH):
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        connection.request("GET", base + path, headers={"Authorization": f"Bearer {served.token}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status in (400, 404), (base + path, body)
        assert served.token.encode() not in body


def test_without_a_known_token_nothing_is_served(served) -> None:
    with served.client("wrong") as client:
        assert client.get(METADATA_PATH + "timestamp.json").status_code == 401
        answer = client.get(METADATA_PATH + "timestamp.json", headers={"Authorization": "Basic abc"})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"


def test_a_forgotten_device_is_told_so_and_gets_nothing(served, device) -> None:
    with served.client(device["token"]) as its:
        assert its.get(METADATA_PATH + "timestamp.json").status_code == 200
        with served.client() as operator:
            assert operator.delete(f"/api/v1/devices/{device['device']}").status_code == 200
        answer = its.get(METADATA_PATH + "timestamp.json")
    assert answer.status_code == 403
    assert not re.search(rf"^{device['device']}:", (served.state_dir / "broker.passwords").read_text(), re.MULTILINE)


def test_a_devices_token_opens_no_operators_endpoint(served, device) -> None:
    with served.client(device["token"]) as client:
        assert client.get("/api/v1/devices").status_code == 401


def test_an_upload_that_is_not_what_was_announced_is_refused(served) -> None:
    with served.client() as client:
        answer = client.put("/api/v1/uploads/" + "0" * 64, content=b"other bytes")
        assert (answer.status_code, answer.json()["code"]) == (422, "hash_mismatch")
        assert client.put("/api/v1/uploads/name", content=b"").status_code == 400


def test_a_release_signed_with_another_key_or_over_other_bytes_is_refused_by_the_service(
    served, model_folder, tmp_path
) -> None:
    bundle, tampered = tmp_path / "bundle.tar", tmp_path / "tampered.tar"
    folder = model_folder("foreign")
    facts = build_bundle(folder, bundle)
    (folder / "model.onnx").write_bytes(b"tampered")
    build_bundle(folder, tampered)
    with served.client() as client:
        current = Metadata[Targets].from_bytes(client.get("/api/v1/trust").json()["documents"]["models"].encode())
        proposed = with_release(current, next_release(current.signed, facts), facts, datetime.now(UTC))
        proposed.sign(CryptoSigner.generate_ed25519())
        for path in (bundle, tampered):
            sha256 = measure_bundle(path).sha256
            assert client.put(f"/api/v1/uploads/{sha256}", content=path.read_bytes()).status_code == 200
            answer = client.post("/api/v1/releases", json={"metadata": proposed.to_bytes().decode(), "sha256": sha256})
            assert (answer.status_code, answer.json()["code"]) == (422, "publication_refused")
        assert client.get("/api/v1/models/foreign").status_code == 404
