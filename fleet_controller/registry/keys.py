"""Signing keys: ed25519, each in its own PEM file (PKCS8), encrypted with a passphrase.

A passphrase is read from a file or asked for on the terminal. It never stands on a command line or in an environment
variable, where other processes could read it.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from fleet_controller.durable import write_file_durably

PASSPHRASE_FILE_VARIABLE: Final = "SMALLHOLD_KEY_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
MIN_PASSPHRASE: Final = 8


class KeyFileError(Exception):
    """A key or passphrase cannot be used; the text names the file and what to do."""


def read_passphrase(file: Path | None = None, *, confirm: bool = False, what: str = "signing keys") -> bytes:
    """The passphrase: from `file`, else from the file that SMALLHOLD_KEY_PASSPHRASE_FILE names, else asked on the terminal.

    `confirm` asks twice. Raises KeyFileError if it is too short, the file cannot be read, or there is nobody to ask.
    """
    if file is None and (named := os.environ.get(PASSPHRASE_FILE_VARIABLE)):
        file = Path(named)
    if file is not None:
        try:
            passphrase = file.read_bytes().strip(b"\r\n")
        except OSError as error:
            raise KeyFileError(f"passphrase file {file}: {error.strerror}") from error
        source = f"passphrase file {file}"
    else:
        if not sys.stdin.isatty():
            raise KeyFileError(
                f"no passphrase for the {what}: name a file with --passphrase-file or {PASSPHRASE_FILE_VARIABLE}, "
                "or run this on a terminal"
            )
        source = "passphrase"
        passphrase = getpass.getpass(f"Passphrase of the {what}: ").encode()
        if confirm and getpass.getpass("The same again: ").encode() != passphrase:
            raise KeyFileError("the two passphrases differ")
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeyFileError(f"{source}: at least {MIN_PASSPHRASE} characters are needed")
    return passphrase


def create_key_file(path: Path, passphrase: bytes) -> CryptoSigner:
    """Make a key, write it to `path` (mode 0600) and return its signer; raises KeyFileError if the file exists."""
    if path.exists():
        raise KeyFileError(f"key {path} exists and is not overwritten")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    try:
        write_file_durably(path, pem, mode=0o600)
    except OSError as error:
        raise KeyFileError(f"key {path}: {error.strerror}") from error
    return CryptoSigner(key)


def load_signer(path: Path, passphrase: bytes) -> CryptoSigner:
    """Open a key file; raises KeyFileError when it is missing, is no key of ours, or the passphrase is wrong."""
    try:
        key = load_pem_private_key(path.read_bytes(), passphrase)
    except OSError as error:
        raise KeyFileError(f"key {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"key {path}: wrong passphrase, or not an encrypted PEM key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"key {path}: not an ed25519 key")
    return CryptoSigner(key)
