"""HTTP with the device's token, for metadata and bundles. No redirects: the token goes to the configured server alone."""

from collections.abc import Iterator
from typing import Final

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

CHUNK_BYTES: Final = 256 * 1024


class TokenFetcher(FetcherInterface):
    """python-tuf's port to the network. Metadata is kept in memory, so nothing is written outside the job's folders."""

    def __init__(self, token: str, *, timeout: float, ca_file: str | None = None) -> None:
        self._pool = urllib3.PoolManager(
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            retries=False,
            ca_certs=ca_file,
            maxsize=1,
        )

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """The whole body; raises DownloadError."""
        body = bytearray()
        for chunk in self.fetch(url):
            body += chunk
            if len(body) > max_length:
                raise DownloadLengthMismatchError(f"{url} gives more than the allowed {max_length} bytes")
        return bytes(body)

    def open_from(self, url: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Ask for the bytes from `offset` on; returns where the server really starts and the bytes. Raises DownloadError."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._request(url, headers)
        start = 0
        if response.status == 206:
            start = _range_start(response.headers.get("Content-Range", ""))
            if start != offset:
                response.close()
                raise DownloadError(f"{url}: asked for the bytes from {offset} on, was offered those from {start} on")
        return start, self._chunks(response)

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._chunks(self._request(url, {}))

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            response = self._pool.request(
                "GET", url, headers={**self._pool.headers, **headers}, preload_content=False, redirect=False
            )
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError(f"{url}: no answer in time") from error
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(f"{url} cannot be reached") from error
        if response.status not in (200, 206):
            response.close()
            raise DownloadHTTPError(f"{url} answered with status {response.status}", response.status)
        return response

    @staticmethod
    def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from response.stream(CHUNK_BYTES, decode_content=False)
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError("the server stopped sending") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise DownloadError("the connection broke") from error
        finally:
            response.close()


def _range_start(value: str) -> int:
    unit, _, numbers = value.partition(" ")
    start = numbers.partition("-")[0]
    if unit != "bytes" or not start.isascii() or not start.isdigit():
        raise DownloadError(f"Content-Range {value!r} cannot be read")
    return int(start)
