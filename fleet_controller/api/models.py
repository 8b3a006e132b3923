"""Models over HTTP: list, show, and publish in two steps: the bundle's bytes, then the signed metadata that names them."""

import hashlib
import os
import re
import secrets
from dataclasses import asdict
from typing import Any

from litestar import Request, get, post, put
from msgspec import Struct

from fleet_contract.bundle import MAX_BUNDLE_BYTES
from fleet_controller.api.access import Role, needs
from fleet_controller.api.devices import iso
from fleet_controller.api.errors import ApiError
from fleet_controller.registry.service import Registry
from fleet_controller.store.published import ReleaseRow, list_releases

Ask = Request[Any, Any, Any]
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Publication(Struct, forbid_unknown_fields=True):
    """Body of `POST /releases`: the signed `models` metadata as text, and the hash of the upload, or of each variant's."""

    metadata: str
    sha256: str | tuple[str, ...]


def _view(row: ReleaseRow, floors: dict[str, int]) -> dict[str, Any]:
    return asdict(row) | {"created": iso(row.created), "revoked": row.release < floors.get(row.model, 0)}


@get("/models", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_models(request: Ask) -> list[dict[str, Any]]:
    """Every release of every model."""
    with request.app.state.services.database.read() as connection:
        rows = list_releases(connection)
    floors = request.app.state.registry.repository.floors()
    return [_view(row, floors) for row in rows]


@get("/models/{model:str}", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_model(request: Ask, model: str) -> list[dict[str, Any]]:
    """The releases of one model with their manifests, and the deltas that lead to each."""
    with request.app.state.services.database.read() as connection:
        rows = list_releases(connection, model)
    if not rows:
        raise ApiError(404, "not_found", f"there is no model {model!r}; `fleet model list` shows what there is")
    floors = request.app.state.registry.repository.floors()
    deltas = request.app.state.registry.deltas.list()
    return [_view(row, floors) | {"deltas": _deltas_to(row, rows, deltas)} for row in rows]


def _deltas_to(row: ReleaseRow, rows: list[ReleaseRow], deltas: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """The releases that a delta leads to this one from, with the variant that it is of and the delta's size."""
    found = []
    for variant in row.variants:
        bases = deltas.get(variant["digest"].removeprefix("sha256:"), {})
        for item in rows:
            for each in item.variants:
                size = bases.get(each["digest"].removeprefix("sha256:"))
                if size is not None:
                    found.append({"from": item.release, "variant": variant["variant"], "bytes": size})
    return found


@put("/uploads/{sha256:str}", guards=[needs(Role.OPERATOR)], request_max_body_size=MAX_BUNDLE_BYTES)
async def upload_bundle(request: Ask, sha256: str) -> dict[str, Any]:
    """Receive a bundle's bytes under their hash; they count for nothing before `POST /releases` names them."""
    if not _SHA256.fullmatch(sha256):
        raise ApiError(400, "bad_request", "the name of an upload is the sha256 of its bytes, in hex")
    registry: Registry = request.app.state.registry
    temporary = registry.uploads / f".{sha256}.{secrets.token_hex(6)}"
    digest, length = hashlib.sha256(), 0
    try:
        with temporary.open("xb") as file:
            async for block in request.stream():
                digest.update(block)
                length += len(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise ApiError(422, "hash_mismatch", f"the uploaded bytes have sha256 {digest.hexdigest()}, announced was {sha256}")
        temporary.replace(registry.uploads / sha256)
    finally:
        temporary.unlink(missing_ok=True)
    return {"sha256": sha256, "bytes": length}


@post("/releases", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def publish_release(request: Ask, data: Publication) -> dict[str, Any]:
    """Publish what was signed on the operator's machine, over bytes that were uploaded before."""
    registry: Registry = request.app.state.registry
    hashes = (data.sha256,) if isinstance(data.sha256, str) else data.sha256
    bundles = [registry.uploads / each for each in hashes if _SHA256.fullmatch(each)]
    for each in hashes:
        if not _SHA256.fullmatch(each) or not (registry.uploads / each).is_file():
            raise ApiError(422, "publication_refused", f"no bundle of sha256 {each} was uploaded")
    try:
        row = registry.publish(data.metadata.encode(), bundles, request.state.operator)
        return _view(row, registry.repository.floors())
    finally:
        for bundle in bundles:
            bundle.unlink(missing_ok=True)
