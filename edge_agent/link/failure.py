"""Words for what went wrong on a connection, so that the log says what to do. Pure."""

import socket
import ssl


def describe(error: Exception) -> str:
    """One line for an exception that ended a connection or kept it from starting."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the broker's certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {getattr(error, 'reason', None) or error}"
        case socket.gaierror():
            return f"the host name cannot be resolved: {error.strerror}"
        case ConnectionRefusedError():
            return "nothing listens there (connection refused)"
        case TimeoutError():
            return "no answer within the time limit"
        case FileNotFoundError() if error.filename:
            return f"file not found: {error.filename}"
        case PermissionError() if error.filename:
            return f"file cannot be read: {error.filename}"
        case ConnectionError() | OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return f"{type(error).__name__}: {error}"


def refused(reason_name: str) -> str:
    """One line for a CONNACK that says no."""
    hint = {
        "Bad user name or password": "check username and password_file",
        "Not authorized": "check username, password_file and the broker's rules",
        "Client identifier not valid": "check the device id",
        "Unsupported protocol version": "the broker must speak MQTT 5",
    }.get(reason_name)
    return f"refused by the broker: {reason_name}" + (f" ({hint})" if hint else "")


def ended(was_up: bool, reason_name: str, from_broker: bool) -> str:
    """One line for a connection that ended by itself."""
    if from_broker:
        return f"the broker ended the connection: {reason_name}"
    if not was_up:
        hint = "is this an MQTT 5 broker, and are user and password right?"
        return f"the connection closed before an MQTT 5 answer came ({reason_name}): {hint}"
    if reason_name == "Unspecified error":  # paho's word for a connection that the other end or the network closed
        return "the connection was lost"
    return f"the connection was lost: {reason_name}"
