import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.worker.text_features import char_ngrams, normalise


def test_ngrams_are_counted_in_the_buckets_of_their_crc32() -> None:
    vector = char_ngrams("aa", 2, 2, 64)
    expected = np.zeros(64)
    for gram in (" a", "aa", "a "):
        expected[zlib.crc32(gram.encode()) % 64] += 1
    assert np.allclose(vector, expected / np.linalg.norm(expected))


def test_spelling_variants_of_persian_are_one_text() -> None:
    assert normalise("آب\u200cياري") == normalise("آب  یاری")
    assert normalise("ﻛﺘﺎﺏ") == normalise("کتاب")


def test_case_and_white_space_do_not_count() -> None:
    assert normalise("Pipe\tBURST \n") == " pipe burst "


@given(st.text(), st.integers(1, 3), st.integers(0, 2), st.integers(1, 500))
def test_any_text_gives_a_finite_vector_of_length_one_or_zero(text: str, low: int, more: int, buckets: int) -> None:
    vector = char_ngrams(text, low, low + more, buckets)
    assert vector.shape == (buckets,)
    assert vector.dtype == np.float32
    length = float(np.linalg.norm(vector))
    assert abs(length - 1) < 1e-4 or length == 0


def test_a_lone_surrogate_is_read_too() -> None:
    assert np.isfinite(char_ngrams("\ud800 pipe")).all()
