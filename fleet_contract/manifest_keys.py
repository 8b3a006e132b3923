"""The nearest known key to a misspelt one in `model.toml`."""

import re
from typing import Final

from msgspec import Struct

_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`(?: - at `\$\.?([^`]*)`)?")


def explain_key(text: str, top: type[Struct], parts: dict[str, type[Struct]]) -> str:
    """An error of msgspec, with the path as TOML has it and, for an unknown key, the nearest known one.

    `parts`: the last word of a path to the record that stands there.
    """
    found = _UNKNOWN.search(text)
    if found is None:
        return text
    from difflib import get_close_matches  # only a wrong manifest needs it

    key, path = found.group(1), found.group(2) or ""
    words = re.findall(r"[A-Za-z_]+", path)
    record = parts.get(words[-1], top) if words else top
    known = sorted(record.__struct_fields__)
    near = get_close_matches(key, known, n=1, cutoff=0.6)
    where = f"{path}.{key}" if path else key
    return f"{where}: no such key; " + (f"the nearest is {near[0]!r}" if near else f"known are {', '.join(known)}")
