import os

from edge_agent.inference.backends.native_output import NativeOutput


def test_what_is_written_to_standard_error_is_kept_and_afterwards_goes_where_it_went_before() -> None:
    read, write = os.pipe()
    before = os.dup(2)
    os.dup2(write, 2)
    try:
        with NativeOutput() as output:
            os.write(2, "libcublas.so: no file, é".encode())
        os.write(2, b"after")
        assert output.text == "libcublas.so: no file, é"
        assert os.read(read, 100) == b"after"
    finally:
        os.dup2(before, 2)
        for descriptor in (before, read, write):
            os.close(descriptor)


def test_it_leaves_no_descriptor_open_even_where_the_library_raises() -> None:
    count = len(os.listdir("/proc/self/fd"))
    try:
        with NativeOutput() as output:
            os.write(2, b"told")
            raise RuntimeError
    except RuntimeError:
        pass
    assert output.text == "told"
    assert len(os.listdir("/proc/self/fd")) == count
