"""Downloads of the signed repository: metadata, bundles and deltas, in blocks, with Range so that a device can resume."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from litestar import Request, Response, get
from litestar.response import Stream

from fleet_contract.delta import DELTA_SUFFIX
from fleet_controller.api.access import needs_any_token
from fleet_controller.api.errors import ApiError
from fleet_controller.api.ranges import RangeNotSatisfiable, parse_range

_BLOCK: Final = 256 * 1024
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def locate(folder: Path, path: str) -> Path:
    """The file at `path` below `folder`; raises ApiError 404. A part that could lead elsewhere does not name a file."""
    parts = path.strip("/").split("/")
    if len(parts) > 4 or not all(_PART.fullmatch(part) for part in parts):
        raise ApiError(404, "not_found", "there is no such artifact")
    found = folder.joinpath(*parts)
    if found.is_symlink() or not found.is_file():
        raise ApiError(404, "not_found", "there is no such artifact")
    return found


@get("/artifacts/metadata/{path:path}", guards=[needs_any_token], sync_to_thread=True)
def download_metadata(request: Request[Any, Any, Any], path: str) -> Response[Any]:
    """Signed metadata."""
    return _send(request, locate(request.app.state.registry.repository.folder / "metadata", path))


@get("/artifacts/targets/{path:path}", guards=[needs_any_token], sync_to_thread=True)
def download_target(request: Request[Any, Any, Any], path: str) -> Response[Any]:
    """A bundle, under its hash-prefixed name."""
    return _send(request, locate(request.app.state.registry.repository.folder / "targets", path))


@get("/artifacts/deltas/{path:path}", guards=[needs_any_token], sync_to_thread=True)
def download_delta(request: Request[Any, Any, Any], path: str) -> Response[Any]:
    """What makes one bundle from another; not every pair has one."""
    if not path.endswith(DELTA_SUFFIX):
        raise ApiError(404, "not_found", "there is no such artifact")
    return _send(request, locate(request.app.state.registry.deltas.folder, path))


def _send(request: Request[Any, Any, Any], path: Path) -> Response[Any]:
    file = path.open("rb")
    try:
        status = path.stat()
        size = file.seek(0, 2)
        etag = f'"{status.st_mtime_ns:x}-{size:x}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            file.close()
            return Response(None, status_code=304, headers=headers)
        wanted = request.headers.get("range") if request.headers.get("if-range", etag) == etag else None
        try:
            part = parse_range(wanted, size)
        except RangeNotSatisfiable:
            file.close()
            detail = {"code": "range_not_satisfiable", "detail": f"the file has {size} bytes"}
            return Response(detail, status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        first, last = part if part is not None else (0, size - 1)
        headers["Content-Length"] = str(last - first + 1)
        if part is not None:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Stream(
            _blocks(file, first, last - first + 1),
            status_code=206 if part is not None else 200,
            headers=headers,
            media_type="application/octet-stream",
        )
    except BaseException:
        file.close()
        raise


def _blocks(file: BinaryIO, first: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            length -= len(block)
            yield block
