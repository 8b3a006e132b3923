"""What is counted of a text: its length, the script of most of its letters, and the share of words that are not known.

A script is a cheap stand-in for a language: it tells English from Persian or Russian, not English from Spanish. It is read
off the Unicode block of a letter, 128 code points at a time (https://www.unicode.org/Public/UNIDATA/Blocks.txt). Looked at is
the start of the text only, so that a long one costs no more than a short one.
"""

import re
from collections.abc import Container, Iterable
from typing import Final

from fleet_contract.baseline import MOST_WORDS

LOOKED_AT: Final = 160
"""Characters for words."""
LETTERS: Final = 16
"""Characters for the script, spread over those."""
NO_SCRIPT: Final = "none"
_WORD: Final = re.compile(r"[^\W\d_]+")
_BLOCKS: Final = (
    ("latin", 0x0000, 0x0250),
    ("greek", 0x0380, 0x0400),
    ("cyrillic", 0x0400, 0x0530),
    ("hebrew", 0x0580, 0x0600),
    ("arabic", 0x0600, 0x0780),
    ("devanagari", 0x0900, 0x0980),
    ("bengali", 0x0980, 0x0A00),
    ("gurmukhi", 0x0A00, 0x0A80),
    ("gujarati", 0x0A80, 0x0B00),
    ("tamil", 0x0B80, 0x0C00),
    ("telugu", 0x0C00, 0x0C80),
    ("kannada", 0x0C80, 0x0D00),
    ("malayalam", 0x0D00, 0x0D80),
    ("thai", 0x0E00, 0x0E80),
    ("georgian", 0x1080, 0x1100),
    ("hangul", 0x1100, 0x1200),
    ("ethiopic", 0x1200, 0x1380),
    ("latin", 0x1E00, 0x1F00),
    ("greek", 0x1F00, 0x2000),
    ("kana", 0x3000, 0x3100),
    ("han", 0x3400, 0xA000),
    ("hangul", 0xAC00, 0xD800),
    ("han", 0xF900, 0xFB00),
    ("arabic", 0xFB80, 0xFE00),
    ("arabic", 0xFE80, 0xFF00),
)
_SCRIPT_OF: Final = {block: name for name, first, end in _BLOCKS for block in range(first >> 7, -(-end >> 7))}


def script_of(text: str) -> str:
    """The script of most letters at the start of a text; `other` if it is not listed, `none` where there is no letter."""
    start = text[:LOOKED_AT]
    if start.isascii():
        return "latin" if _WORD.search(start) else NO_SCRIPT
    found: dict[str, int] = {}
    letters = "".join(_WORD.findall(start))
    for letter in letters[:: len(letters) // LETTERS + 1]:
        name = _SCRIPT_OF.get(ord(letter) >> 7, "other")
        found[name] = found.get(name, 0) + 1
    return max(found, key=found.__getitem__) if found else NO_SCRIPT


def words_of(text: str) -> list[str]:
    """The words at the start of a text, in lower case."""
    return _WORD.findall(text[:LOOKED_AT].lower())


def unknown_share(text: str, known: Container[str]) -> float | None:
    """Share of the words that are not in `known`, 0 to 1; None where there is no word."""
    words = words_of(text)
    return sum(word not in known for word in words) / len(words) if words else None


def top_words(texts: Iterable[str], most: int = MOST_WORDS) -> tuple[str, ...]:
    """The words that stand in the most texts."""
    counts: dict[str, int] = {}
    for text in texts:
        for word in set(words_of(text)):
            counts[word] = counts.get(word, 0) + 1
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:most])
