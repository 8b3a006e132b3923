"""What a native library writes to standard error, where it says what it does not raise."""

import os
from types import TracebackType


class NativeOutput:
    """Keeps what is written to descriptor 2 while it is open; `text` has it afterwards.

    The file lies in memory, because a caged worker has no folder to write to. Where the kernel gives none, the output goes
    where it went before, and `text` stays empty.
    """

    def __init__(self) -> None:
        self.text = ""
        self._kept: int | None = None
        self._before = -1

    def __enter__(self) -> "NativeOutput":
        try:
            self._kept = os.memfd_create("native-output")
        except OSError:
            return self
        self._before = os.dup(2)
        os.dup2(self._kept, 2)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._kept is None:
            return
        os.dup2(self._before, 2)
        os.close(self._before)
        size = os.lseek(self._kept, 0, os.SEEK_END)
        self.text = os.pread(self._kept, size, 0).decode("utf-8", "replace")
        os.close(self._kept)
        self._kept = None
