"""Where a model comes from and what may be done with it: licence, and which code and data it was trained with."""

import re
from datetime import datetime
from typing import Final

from fleet_contract.manifest_record import ManifestError, Record
from fleet_contract.reasons import Reason

_ID: Final = r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+|[A-Za-z0-9][A-Za-z0-9.-]*\+?"
_TOKEN: Final = re.compile(rf"\s*(?:\(|\)|(?:{_ID})(?=[\s()]|$))")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
MAX_DEPTH: Final = 16


class Provenance(Record, frozen=True, kw_only=True):
    """How the model came to be."""

    commit: str | None = None
    """The training code's commit, in hex."""
    repository: str = ""
    """Where that code is kept."""
    data_hash: str | None = None
    """`sha256:` and the hash of the training data."""
    built_at: str | None = None
    """RFC 3339, with its zone."""
    built_by: str = ""


def check_provenance(provenance: Provenance) -> None:
    """Raise ManifestError for a commit, hash or time that is none."""
    if provenance.commit is not None and not _COMMIT.fullmatch(provenance.commit):
        raise ManifestError(f"provenance.commit: {provenance.commit!r} is not a commit, 7 to 64 hex digits")
    if provenance.data_hash is not None and not _HASH.fullmatch(provenance.data_hash):
        raise ManifestError("provenance.data_hash: needs the form sha256: and 64 hex digits")
    if provenance.built_at is not None:
        try:
            built = datetime.fromisoformat(provenance.built_at)
        except ValueError as error:
            raise ManifestError(f"provenance.built_at: {provenance.built_at!r} is not a time of RFC 3339") from error
        if built.tzinfo is None:
            raise ManifestError("provenance.built_at: needs its zone, such as Z")


def check_licence(expression: str) -> None:
    """Raise ManifestError unless the text has the form of an SPDX licence expression (SPDX 2.3, annex D).

    The form alone: whether each word is on the SPDX list is checked where bundles are built and published.
    """
    tokens, at = [], 0
    text = expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _bad_licence(expression)
        tokens.append(found.group().strip())
        at = found.end()
    end = _alternatives(tokens, 0, 0)
    if end is None or end != len(tokens):
        raise _bad_licence(expression)


def _bad_licence(expression: str) -> ManifestError:
    text = f"licence: {expression!r} is no SPDX expression, such as Apache-2.0 or MIT OR ISC"
    return ManifestError(text, Reason.LICENCE_INVALID)


def _alternatives(tokens: list[str], at: int, depth: int) -> int | None:
    """Where the expression that begins at `at` ends, or None if none begins there. AND and OR bind alike for the form."""
    end = _one(tokens, at, depth)
    while end is not None and end < len(tokens) and tokens[end] in ("AND", "OR"):
        end = _one(tokens, end + 1, depth)
    return end


def _one(tokens: list[str], at: int, depth: int) -> int | None:
    if at >= len(tokens) or depth > MAX_DEPTH:
        return None
    if tokens[at] == "(":
        end = _alternatives(tokens, at + 1, depth + 1)
        return end + 1 if end is not None and end < len(tokens) and tokens[end] == ")" else None
    if not _is_id(tokens[at]):
        return None
    if at + 1 < len(tokens) and tokens[at + 1] == "WITH":
        return at + 3 if at + 2 < len(tokens) and _is_id(tokens[at + 2]) else None
    return at + 1


def _is_id(token: str) -> bool:
    return token not in ("(", ")", "AND", "OR", "WITH")
