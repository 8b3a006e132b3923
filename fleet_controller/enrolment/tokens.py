"""HTTP bearer tokens: 256 random bits, of which only the hash is kept."""

import hashlib
import secrets


def new_token() -> str:
    """A random token; nothing can be read from it."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """SHA-256 in hex. A token is random and long, so it needs neither salt nor stretching."""
    return hashlib.sha256(token.encode()).hexdigest()
