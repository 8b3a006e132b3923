"""Hashed character n-grams: one text, in any script, becomes a vector without a vocabulary or a tokenizer.

Character n-grams need no word boundaries, stems or spelling, which is what lets one small model read English and Persian
(Cavnar and Trenkle, "N-Gram-Based Text Categorization", 1994; the hashing trick: Weinberger et al., ICML 2009).
"""

import unicodedata
import zlib

import numpy as np
from numpy.typing import NDArray


def normalise(text: str) -> str:
    """NFKC, lower case, runs of white space as one space, and a space at each end, so that word edges are n-grams too.

    NFKC folds the Arabic presentation forms and full-width letters; the zero-width non-joiner of Persian is kept as a space,
    because typists use the two interchangeably. Arabic yeh and kaf become their Persian forms for the same reason.
    """
    folded = unicodedata.normalize("NFKC", text).lower().translate(_PERSIAN)
    return " " + " ".join(folded.split()) + " "


_PERSIAN = {0x200C: " ", 0x064A: "\u06cc", 0x0643: "\u06a9"}


def char_ngrams(text: str, n_min: int = 2, n_max: int = 4, buckets: int = 1024) -> NDArray[np.float32]:
    """Counts of the n-grams of `n_min` to `n_max` characters, L2-normalised; shape (buckets,), no unit.

    The bucket of an n-gram is the CRC-32 of its UTF-8 bytes modulo `buckets`. An empty text gives the n-grams of a single
    space.
    """
    padded = normalise(text)
    counts = np.zeros(buckets, dtype=np.float32)
    for size in range(n_min, n_max + 1):
        for start in range(len(padded) - size + 1):
            # "replace" for lone surrogates, which have no UTF-8 bytes of their own.
            counts[zlib.crc32(padded[start : start + size].encode("utf-8", "replace")) % buckets] += 1.0
    length = float(np.sqrt(np.dot(counts, counts)))
    return counts / np.float32(length) if length > 0 else counts
