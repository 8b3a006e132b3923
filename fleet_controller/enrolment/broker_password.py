"""Lines of Mosquitto's password file, which holds one hash for each user: the format `$7$` of mosquitto_passwd(1).

PBKDF2-HMAC-SHA512 with the iterations and the salt length that Mosquitto 2 writes itself. Our passwords are 192 random bits,
so stretching them further would only make every connect slower.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final

ITERATIONS: Final = 101
SALT_BYTES: Final = 12
"""Mosquitto 2.0 refuses any other length."""
HASH_BYTES: Final = 64


def new_password() -> str:
    """A random password: 192 bits, URL-safe, so it needs no quoting anywhere."""
    return secrets.token_urlsafe(24)


def password_line(user: str, password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The line for `user`, without the line end. `salt` (12 bytes) is random unless given; raises ValueError on a bad user."""
    if not user or any(sign in user for sign in ":\r\n\0"):
        raise ValueError(f"broker user {user!r}: empty, or holds ':', a line end or a NUL")
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, HASH_BYTES)
    return f"{user}:$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def password_matches(line: str, password: str) -> bool:
    """Whether a line of the file was made from `password`; False as well for a line of another format."""
    parts = line.rstrip("\n").partition(":")[2].split("$")
    if len(parts) != 5 or parts[:2] != ["", "7"]:
        return False
    try:
        salt, digest = base64.b64decode(parts[3], validate=True), base64.b64decode(parts[4], validate=True)
        found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, int(parts[2]), len(digest))
    except (ValueError, OverflowError):
        return False
    return hmac.compare_digest(found, digest)


def user_of(line: str) -> str:
    """The user of a line; the empty string for a comment or an empty line."""
    return "" if line.startswith("#") else line.partition(":")[0].strip()


def with_user(content: str, user: str, line: str | None) -> str:
    """The file's content with the line of `user` replaced by `line`, or removed if that is None; other lines are kept."""
    kept = [old for old in content.splitlines() if user_of(old) != user]
    if line is not None:
        kept.append(line)
    return "".join(f"{each}\n" for each in kept)
