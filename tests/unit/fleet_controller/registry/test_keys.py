from pathlib import Path

import pytest

from fleet_controller.registry.keys import KeyFileError, create_key_file, load_signer, read_passphrase

PASSPHRASE = b"correct horse"


def test_a_key_file_is_encrypted_private_and_opens_with_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    made = create_key_file(path, PASSPHRASE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    opened = load_signer(path, PASSPHRASE)
    assert opened.public_key == made.public_key
    opened.public_key.verify_signature(made.sign(b"data"), b"data")


def test_a_wrong_passphrase_a_missing_file_and_foreign_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key_file(path, PASSPHRASE)
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        load_signer(path, b"another one")
    with pytest.raises(KeyFileError, match="No such file"):
        load_signer(tmp_path / "none.pem", PASSPHRASE)
    path.write_bytes(b"\0" * 100)
    with pytest.raises(KeyFileError, match="not an encrypted PEM key"):
        load_signer(path, PASSPHRASE)


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key_file(path, PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="not overwritten"):
        create_key_file(path, PASSPHRASE)
    assert path.read_bytes() == before


def test_the_passphrase_comes_from_the_named_file_without_its_line_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE + b"\n")
    assert read_passphrase(file) == PASSPHRASE
    monkeypatch.setenv("SMALLHOLD_KEY_PASSPHRASE_FILE", str(file))
    assert read_passphrase() == PASSPHRASE
    file.write_bytes(b"short\n")
    with pytest.raises(KeyFileError, match="at least 8"):
        read_passphrase()
