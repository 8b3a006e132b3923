import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.sparkplug_values import DatatypeUnknown, Unreadable, read_array, read_integer, shorten

INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 = range(1, 9)


@pytest.mark.parametrize(("datatype", "bits"), [(INT8, 8), (INT16, 16), (INT32, 32), (INT64, 64)])
@given(data=st.data())
def test_signed_integers_are_twos_complement_in_either_width(datatype: int, bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    assert read_integer(datatype, value % 2**64, wide=True) == value
    if bits < 64:
        assert read_integer(datatype, value % 2**32, wide=False) == value
        assert read_integer(datatype, value % 2**bits, wide=False) == value


@pytest.mark.parametrize(("datatype", "bits"), [(UINT8, 8), (UINT16, 16), (UINT32, 32), (UINT64, 64)])
def test_unsigned_integers_reach_their_largest_value(datatype: int, bits: int) -> None:
    assert read_integer(datatype, 2**bits - 1, wide=True) == 2**bits - 1
    if bits <= 32:
        assert read_integer(datatype, 2**bits - 1, wide=False) == 2**bits - 1


def test_an_int64_in_the_narrow_field_is_signed_there() -> None:
    assert read_integer(INT64, 2**32 - 5, wide=False) == -5
    assert read_integer(INT64, 2**31 - 1, wide=False) == 2**31 - 1
    assert read_integer(INT64, 2**32 - 5, wide=True) == 2**32 - 5


def test_an_integer_is_a_boolean_only_as_0_or_1() -> None:
    assert read_integer(11, 1, wide=False) is True
    assert read_integer(11, 0, wide=True) is False
    with pytest.raises(Unreadable):
        read_integer(11, 2, wide=False)


def test_an_integer_is_not_guessed_at() -> None:
    with pytest.raises(DatatypeUnknown):
        read_integer(0, 1, wide=False)
    with pytest.raises(Unreadable):
        read_integer(10, 1, wide=False)


@pytest.mark.parametrize("text", ["21.3", "0.1", "3.4028235e+38", "-0.0", "16777216.0", "1.1754944e-38", "0.0"])
def test_a_float_of_32_bits_has_no_noise(text: str) -> None:
    single = struct.unpack("<f", struct.pack("<f", float(text)))[0]
    assert repr(shorten(single)) == repr(float(text))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_shortened_float_is_the_same_float_of_32_bits(value: float) -> None:
    assert struct.pack("<f", shorten(value)) == struct.pack("<f", value)


def test_an_array_of_booleans_must_have_as_many_bits_as_it_says() -> None:
    for packed in (b"", b"\1\0", b"\x09\0\0\0\xff", b"\xff\xff\xff\xff\xff", b"\1\0\0\0\xff\xff"):
        with pytest.raises(Unreadable):
            read_array(32, packed)
    assert read_array(32, b"\0\0\0\0") == []


def test_texts_of_an_array_are_utf8() -> None:
    assert read_array(33, "°C\0\0x".encode()) == ["°C", "", "x"]
    assert read_array(33, b"") == []
    with pytest.raises(Unreadable):
        read_array(33, b"\xff\0")
