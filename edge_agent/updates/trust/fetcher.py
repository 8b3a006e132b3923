"""HTTP with the device's token, for all that is fetched. No redirects: the token goes to the configured server alone."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, Never

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

from edge_agent.updates.trust.pace import Pace, seconds_asked

CHUNK_BYTES: Final = 256 * 1024


class RefusedByServer(DownloadHTTPError):
    """An answer that is no success. `retry_after`: seconds that the server asks to wait, if it does."""

    def __init__(self, message: str, status: int, retry_after: float | None) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


class BeyondBudget(DownloadError):
    """`needed` bytes more would be beyond the data budget."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's bytes, and what the server says about them."""

    start: int
    """Where in the file they begin: what was asked for, or 0 from a server without ranges."""
    total: int | None
    """How long the whole file is; None where the server does not say."""
    chunks: Iterator[bytes]


class TokenFetcher(FetcherInterface):
    """python-tuf's port to the network. Metadata is kept in memory, so nothing is written outside the job's folders."""

    def __init__(self, token: str, *, timeout: float, ca_file: str | None = None, budget: int | None = None) -> None:
        """`timeout`: seconds for connecting, without a byte, and of the windows in which a body's pace is judged.

        `budget`: bytes that may be received; None is no limit.
        """
        self._budget = budget
        self.received = 0
        """Bytes of all bodies so far, metadata too: what the link has carried, but for headers."""
        self._timeout = timeout
        self._pool = urllib3.PoolManager(
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            retries=False,
            ca_certs=ca_file,
            maxsize=1,
        )

    def check_budget(self, needed: int) -> None:
        """Raises BeyondBudget if `needed` bytes more would be beyond the data budget."""
        if self._budget is not None and self.received + needed > self._budget:
            left = max(self._budget - self.received, 0)
            raise BeyondBudget(f"{needed} bytes are needed and {left} are left of this month's data budget", needed)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """The whole body; raises DownloadError."""
        body = bytearray()
        for chunk in self.fetch(url):
            body += chunk
            if len(body) > max_length:
                raise DownloadLengthMismatchError(f"{url} gives more than the allowed {max_length} bytes")
        return bytes(body)

    def open_from(self, url: str, offset: int) -> Body:
        """Ask for the bytes from `offset` on. Raises DownloadError."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._request(url, headers)
        try:
            if response.status == 200:
                return Body(0, _number(response.headers.get("Content-Length")), self._chunks(response))
            start, total = _content_range(response.headers.get("Content-Range", ""))
            if start != offset:
                raise DownloadError(f"{url}: asked for the bytes from {offset} on, was offered those from {start} on")
            return Body(start, total, self._chunks(response))
        except DownloadError:
            response.close()
            raise

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._chunks(self._request(url, {}))

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            with _within(2 * self._timeout, f"{url}: no whole answer in time"):
                response = self._pool.request(
                    "GET", url, headers={**self._pool.headers, **headers}, preload_content=False, redirect=False
                )
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError(f"{url}: no answer in time") from error
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(f"{url} cannot be reached") from error
        status, told = response.status, response.headers
        if status in (200, 206) and told.get("Content-Encoding", "identity") == "identity":
            return response
        response.close()
        if status in (200, 206):
            raise DownloadError(f"{url} comes encoded as {told['Content-Encoding']!r}, which nobody asked for")
        if 300 <= status < 400:
            raise RefusedByServer(
                f"{url} redirects (status {status}), which is not followed: the token is for this server alone", status, None
            )
        asked = seconds_asked(told.get("Retry-After"), told.get("Date"))
        raise RefusedByServer(f"{url} answered with status {status}", status, asked)

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        pace = Pace(self._timeout, time.monotonic())
        try:
            # read1 gives what is there: a larger piece would be lost with the connection, and hide how slowly it comes.
            while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                self.received += len(chunk)
                yield chunk
                self.check_budget(0)
                if pace.is_too_slow(len(chunk), time.monotonic()):
                    raise SlowRetrievalError("the server sends too slowly")
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError("the server stopped sending") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise DownloadError("the connection broke") from error
        finally:
            response.close()


@contextlib.contextmanager
def _within(seconds: float, what: str) -> Iterator[None]:
    """Bound the block by the clock: a socket's time-out begins anew with each byte of a header that drips in.

    Only the main thread can be interrupted; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: FrameType | None) -> Never:
        raise SlowRetrievalError(what)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _content_range(value: str) -> tuple[int, int | None]:
    """First byte and whole length; raises DownloadError."""
    unit, _, numbers = value.partition(" ")
    span, _, total = numbers.partition("/")
    start = _number(span.partition("-")[0])
    if unit != "bytes" or start is None:
        raise DownloadError(f"Content-Range {value!r} cannot be read")
    return start, _number(total)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None
