"""A server that fails, lies, or wants something: one row for each, and what the child makes of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import pytest

from benchmarks.update_world import Device
from fleet_contract.reasons import Reason
from tests.faults.network.lab import TOKEN, Answer, Liar, Misbehave, Signed, certificate, make_bundle, make_device, with_tls

SIZE: Final = 1_000_000


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("signed")
    signed = Signed(folder)
    signed.publish(make_bundle(folder, SIZE))
    return signed


@pytest.fixture
def server(signed: Signed) -> Iterator[Liar]:
    server = Liar(signed.folder)
    yield server
    server.end()


@pytest.fixture
def device(tmp_path: Path, signed: Signed, server: Liar) -> Device:
    return make_device(tmp_path / "device", signed.root, f"http://127.0.0.1:{server.server_port}")


def status(code: int, **headers: str) -> Misbehave:
    return lambda answer, _data, _offset: answer.refuse(code, **headers)


def in_an_hour(answer: Answer, _data: bytes, _offset: int) -> None:
    """The server's clock is years behind, and so is the time that it names."""
    now = datetime(2001, 1, 1, tzinfo=UTC)
    answer.send_response_only(429)
    later = format_datetime(now + timedelta(hours=1), usegmt=True)
    answer.head({"Date": format_datetime(now, usegmt=True), "Retry-After": later, "Content-Length": "0"})


@pytest.mark.parametrize(
    ("misbehave", "temporary", "asked"),
    [
        pytest.param(status(404), False, None, id="404"),
        pytest.param(status(410), False, None, id="410"),
        pytest.param(status(401), True, None, id="401"),
        pytest.param(status(500), True, None, id="500"),
        pytest.param(status(502), True, None, id="502"),
        pytest.param(status(429, Retry_After="7"), True, 7.0, id="429, seconds"),
        pytest.param(status(503, Retry_After="120"), True, 120.0, id="503, seconds"),
        pytest.param(in_an_hour, True, 3600.0, id="429, a date by the server's own clock"),
        pytest.param(status(503, Retry_After="999999999999999999999"), True, 86_400.0, id="503, for ever"),
        pytest.param(status(503, Retry_After="soon"), True, None, id="503, a word"),
        pytest.param(status(503, Retry_After="-5"), True, None, id="503, a time before"),
    ],
)
def test_a_refusal_says_whether_and_when_to_come_back(
    device: Device, server: Liar, misbehave: Misbehave, temporary: bool, asked: float | None
) -> None:
    server.misbehave = misbehave
    failed = device.run().failed
    assert (failed.reason, failed.temporary, failed.retry_after) == (Reason.DOWNLOAD_FAILED, temporary, asked)
    assert "status" in failed.detail
    assert len(server.targets()) == 1  # it is the daemon that tries again, after a while


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["http://127.0.0.1:{other}/stolen", "/artifacts/targets/elsewhere"])
def test_no_redirect_is_followed_and_the_token_goes_nowhere(
    device: Device, server: Liar, signed: Signed, code: int, place: str
) -> None:
    other = Liar(signed.folder)
    server.misbehave = status(code, Location=place.format(other=other.server_port))
    failed = device.run().failed
    other.end()
    assert (failed.reason, failed.temporary) == (Reason.DOWNLOAD_FAILED, False)
    assert "not followed" in failed.detail
    assert other.asked == []
    assert set(server.tokens) == {f"Bearer {TOKEN}"}
    assert TOKEN not in failed.detail
    assert len(server.targets()) == 1


def gzipped(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Encoding="gzip")


def shorter(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data[:-1000], offset)


def longer(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data + b"more", offset)


def promising(answer: Answer, data: bytes, offset: int) -> None:
    """Announces all, sends a part, and hangs up."""
    answer.send_response(200)
    answer.head({"Content-Length": str(len(data))})
    answer.wfile.write(data[: len(data) // 2])


def nameless_and_short(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data[: len(data) // 2], 0, Content_Length="")


def nameless_and_endless(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data + data, 0, Content_Length="")


def chunked(answer: Answer, data: bytes) -> None:
    answer.send_response(200)
    answer.head({"Transfer-Encoding": "chunked"})
    for start in range(0, len(data), 100_000):
        piece = data[start : start + 100_000]
        answer.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


def chunked_and_cut(answer: Answer, data: bytes, offset: int) -> None:
    chunked(answer, data[:300_000])


def chunked_and_endless(answer: Answer, data: bytes, offset: int) -> None:
    chunked(answer, data + data)


def part_unasked(answer: Answer, data: bytes, offset: int) -> None:
    answer.send_response(206)
    answer.head({"Content-Range": f"bytes 500-{len(data) - 1}/{len(data)}", "Content-Length": str(len(data) - 500)})
    answer.wfile.write(data[500:])


def part_without_a_range(answer: Answer, data: bytes, offset: int) -> None:
    answer.send_response(206)
    answer.head({"Content-Type": "multipart/byteranges; boundary=x", "Content-Length": str(len(data))})
    answer.wfile.write(data)


def other_bytes(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(bytes(len(data)), offset)


def nothing(answer: Answer, data: bytes, offset: int) -> None:
    """Hangs up without a word."""


def noise(answer: Answer, data: bytes, offset: int) -> None:
    answer.wfile.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


def long_header(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, X="y" * 1_000_000)


ROWS: Final = [
    (gzipped, Reason.DOWNLOAD_FAILED, True, "encoded"),
    (shorter, Reason.DOWNLOAD_FAILED, True, "signed are"),
    (longer, Reason.HASH_MISMATCH, False, "allowed are"),
    (promising, Reason.DOWNLOAD_FAILED, True, "broke"),
    (nameless_and_short, Reason.DOWNLOAD_FAILED, True, "ended after"),
    (nameless_and_endless, Reason.HASH_MISMATCH, False, "more than"),
    (chunked_and_cut, Reason.DOWNLOAD_FAILED, True, "broke"),
    (chunked_and_endless, Reason.HASH_MISMATCH, False, "more than"),
    (part_unasked, Reason.DOWNLOAD_FAILED, True, "asked for the bytes from 0"),
    (part_without_a_range, Reason.DOWNLOAD_FAILED, True, "cannot be read"),
    (other_bytes, Reason.HASH_MISMATCH, False, "hash"),
    (nothing, Reason.DOWNLOAD_FAILED, True, "cannot be reached"),
    (noise, Reason.DOWNLOAD_FAILED, True, "cannot be reached"),
    (long_header, Reason.DOWNLOAD_FAILED, True, "cannot be reached"),
]


@pytest.mark.parametrize(("misbehave", "reason", "temporary", "word"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_a_server_that_lies_is_found_out_and_costs_one_attempt(
    device: Device, server: Liar, misbehave: Misbehave, reason: Reason, temporary: bool, word: str
) -> None:
    server.misbehave = misbehave
    failed = device.run().failed
    assert (failed.reason, failed.temporary) == (reason, temporary), failed.detail
    assert word in failed.detail
    assert failed.received < 2 * SIZE
    server.misbehave = None
    assert device.run().done.path is not None


def test_a_chunked_answer_of_the_right_length_is_fine(device: Device, server: Liar) -> None:
    server.misbehave = lambda answer, data, _offset: (chunked(answer, data), answer.wfile.write(b"0\r\n\r\n"))[0]
    assert device.run().done.path is not None


def half(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data[: len(data) // 2], 0, Content_Length=str(len(data)))


def from_elsewhere(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Range=f"bytes {offset - 5}-{len(data) - 1}/{len(data)}")


def shorter_file(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Range=f"bytes {offset}-{len(data) - 11}/{len(data) - 10}")


def longer_file(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Range=f"bytes {offset}-{len(data) + 9}/{len(data) + 10}")


def unreadable(answer: Answer, data: bytes, offset: int) -> None:
    answer.give(data, offset, Content_Range="pages 1-2/3")


@pytest.mark.parametrize(
    ("misbehave", "reason", "temporary", "kept"),
    [
        pytest.param(from_elsewhere, Reason.DOWNLOAD_FAILED, True, True, id="another start than asked for"),
        pytest.param(shorter_file, Reason.DOWNLOAD_FAILED, True, True, id="a shorter file than signed"),
        pytest.param(longer_file, Reason.HASH_MISMATCH, False, False, id="a longer file than signed"),
        pytest.param(unreadable, Reason.DOWNLOAD_FAILED, True, True, id="no range at all"),
        pytest.param(status(416), Reason.DOWNLOAD_FAILED, True, False, id="416"),
    ],
)
def test_a_wrong_answer_to_a_range_writes_nothing(
    device: Device, server: Liar, misbehave: Misbehave, reason: Reason, temporary: bool, kept: bool
) -> None:
    server.misbehave = half
    device.run()
    have = device.part()
    assert have > SIZE // 3
    server.misbehave = misbehave
    failed = device.run().failed
    assert (failed.reason, failed.temporary) == (reason, temporary)
    assert device.part() == (have if kept else 0)
    server.misbehave = None
    server.asked.clear()
    assert device.run().done.path is not None
    assert server.targets() == [f"bytes={have}-" if kept else None]


def test_what_is_there_stays_though_a_server_without_ranges_is_cut_off_early(device: Device, server: Liar) -> None:
    server.misbehave = half
    device.run()
    have = device.part()
    server.misbehave = lambda answer, data, _offset: answer.give(data[: have // 2], 0, Content_Length=str(len(data)))
    assert device.run().failed.temporary
    assert device.part() == have
    server.misbehave = lambda answer, data, _offset: answer.give(data)
    assert device.run().done.path is not None


def drip(answer: Answer, data: bytes, offset: int) -> None:
    """A byte now and then: never so long without one that a socket's time-out ends it."""
    answer.send_response(200)
    answer.head({"Content-Length": str(len(data))})
    for place in range(len(data)):
        answer.wfile.write(data[place : place + 1])
        if answer.server.ending.wait(0.02):
            return


def drip_headers(answer: Answer, data: bytes, offset: int) -> None:
    while not answer.server.ending.wait(0.02):
        answer.wfile.write(b"H")


def fall_silent(answer: Answer, data: bytes, offset: int) -> None:
    answer.send_response(200)
    answer.head({"Content-Length": str(len(data))})
    answer.wfile.write(data[:100_000])
    answer.server.ending.wait()


def never_answer(answer: Answer, data: bytes, offset: int) -> None:
    answer.server.ending.wait()


@pytest.mark.parametrize(
    ("misbehave", "word"),
    [(drip, "too slowly"), (drip_headers, "no whole answer"), (fall_silent, "stopped"), (never_answer, "no answer")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_server_that_is_too_slow_ends_the_attempt(device: Device, server: Liar, misbehave: Misbehave, word: str) -> None:
    server.misbehave = misbehave
    failed = device.run(timeout=0.5).failed
    assert (failed.reason, failed.temporary) == (Reason.DOWNLOAD_FAILED, True)
    assert word in failed.detail


def test_a_port_where_nobody_listens_is_told_so(device: Device, server: Liar, free_port: Callable[[], int]) -> None:
    device.base = f"http://127.0.0.1:{free_port()}"
    failed = device.run().failed
    assert (failed.reason, failed.temporary) == (Reason.DOWNLOAD_FAILED, True)
    assert "refused" in failed.detail


@pytest.mark.parametrize("trusted", [False, True], ids=["of an authority that is not trusted", "of another host"])
def test_a_wrong_certificate_ends_it_before_the_token_is_sent(
    device: Device, server: Liar, tmp_path: Path, trusted: bool
) -> None:
    pem = certificate(tmp_path, "elsewhere.example")
    with_tls(server, pem)
    device.base = f"https://127.0.0.1:{server.server_port}"
    failed = device.run(ca_file=str(pem) if trusted else None).failed
    assert (failed.reason, failed.temporary) == (Reason.DOWNLOAD_FAILED, True)
    assert "certificate" in failed.detail
    assert ("127.0.0.1" if trusted else "self-signed") in failed.detail
    assert server.tokens == []
