"""Words for what went wrong."""

import socket
import ssl

import pytest

from edge_agent.link.failure import describe, ended, refused


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens there"),
        (TimeoutError(), "no answer"),
        (socket.gaierror(-2, "Name or service not known"), "host name cannot be resolved"),
        (FileNotFoundError(2, "No such file", "/etc/pw"), "file not found: /etc/pw"),
        (PermissionError(13, "Permission denied", "/etc/pw"), "file cannot be read: /etc/pw"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed"),
        (OSError(113, "No route to host"), "No route to host"),
        (IndexError("list index out of range"), "IndexError: list index out of range"),
    ],
)
def test_each_kind_of_error_has_words_of_its_own(error: Exception, said: str) -> None:
    assert said in describe(error)


def test_a_refusal_says_what_to_check() -> None:
    assert "password_file" in refused("Not authorized")
    assert refused("Server busy") == "refused by the broker: Server busy"


def test_an_end_before_the_first_answer_asks_whether_this_is_a_broker() -> None:
    assert "is this an MQTT 5 broker" in ended(False, "Protocol error", False)
    assert "Session taken over" in ended(True, "Session taken over", True)
    assert ended(True, "Unspecified error", False) == "the connection was lost"
