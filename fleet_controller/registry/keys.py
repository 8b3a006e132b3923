"""Signing keys: ed25519, each in its own PEM file (PKCS8), encrypted with a passphrase; or an ECDSA key in a PKCS#11 token.

A passphrase or PIN is read from a file or asked for on the terminal. It never stands on a command line or in an environment
variable, where other processes could read it.

A token's key is named `hsm:ID?label=TOKEN` as securesystemslib has it, and the variable PYKCS11LIB names the token's library.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, HSMSigner, Signer

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


class Secrets:
    """What opens an operator's keys: one passphrase for key files, one PIN for tokens; each read when it is first needed."""

    def __init__(self, passphrase_file: Path | None, pin_file: Path | None) -> None:
        self._files = {"keys": passphrase_file, "token": pin_file}
        self._read: dict[str, bytes] = {}

    @property
    def passphrase(self) -> bytes:
        """Of key files; raises KeyFileError."""
        if "keys" not in self._read:
            self._read["keys"] = read_passphrase(self._files["keys"], what="keys")
        return self._read["keys"]

    @property
    def pin(self) -> str:
        """Of the token; raises KeyFileError."""
        if "token" not in self._read:
            file = self._files["token"]
            try:
                if file is not None:
                    self._read["token"] = file.read_bytes().strip(b"\r\n")
                elif sys.stdin.isatty():
                    self._read["token"] = getpass.getpass("PIN of the token: ").encode()
                else:
                    raise KeyFileError("no PIN for the token: name a file with --pin-file, or run this on a terminal")
            except OSError as error:
                raise KeyFileError(f"PIN file {file}: {error.strerror}") from error
        return self._read["token"].decode()


def is_in_token(name: str) -> bool:
    """Whether the operator means a key in a token, `hsm:…`, and not a file."""
    return name.startswith(f"{HSMSigner.SCHEME}:")


def open_signer(name: str, secrets: Secrets) -> Signer:
    """Open a key by what the operator calls it: a key file, or `hsm:…` for a key in a token. Raises KeyFileError."""
    if not is_in_token(name):
        return load_signer(Path(name), secrets.passphrase)
    parts = urlsplit(name)

    def pin(_what: str) -> str:
        return secrets.pin

    try:
        key_id = int(parts.path) if parts.path else None
        uri, key = HSMSigner.import_(key_id, dict(parse_qsl(parts.query)).get("label"), pin)
        return HSMSigner.from_priv_key_uri(uri, key, pin)
    except KeyFileError:
        raise
    except UnsupportedLibraryError as error:
        raise KeyFileError(f"key {name}: {error}; install the extra smallhold[pkcs11]") from error
    except Exception as error:
        # the token's library raises errors of its own, which are many and mostly without a text
        raise KeyFileError(f"key {name}: {str(error) or type(error).__name__}") from error


def open_folder(folder: Path, passphrase: bytes) -> Mapping[str, Signer]:
    """Every key file in a folder, by key id. Raises KeyFileError."""
    signers = [load_signer(path, passphrase) for path in sorted(folder.glob("*.pem"))]
    return {signer.public_key.keyid: signer for signer in signers}
