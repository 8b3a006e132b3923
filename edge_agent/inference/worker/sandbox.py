"""The worker's sandbox: once it is closed, what runs here can compute, read a few files and answer, and nothing else.

Everything is asked of the kernel and nothing insisted on: what a kernel, a container or the service's own filter refuses is
left out, and what is in force is told. It holds the thread that closes it and those that this one starts, so it is closed
while there is one.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Any

from edge_agent.inference.worker import landlock, system_calls

NO_NEW_PRIVS, SECCOMP, LANDLOCK = "no_new_privs", "seccomp", "landlock"
NO_NETWORK, READ_ONLY = "no_network", "read_only"
"""What follows from those: no socket can be opened, and no file written, changed or removed."""

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_OF_THE_CPU = ("cpu", "xnnpack")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
)
"""Libraries, and what they ask of the system; other people's files and the agent's own secrets lie elsewhere."""


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def needs_devices(require: Sequence[str], delegates: Sequence[str]) -> bool:
    """Whether a model that is run so may need an accelerator's driver: device files, their `ioctl`, local sockets."""
    return bool(delegates) or any(name not in _OF_THE_CPU for name in require)


def readable() -> list[str]:
    """Where this interpreter, its packages and the libraries behind them lie."""
    named = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, _PACKAGE, *sys.path]
    named += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    # `-c` puts "" first in the path, and the worker's folder is the root.
    return [*_SYSTEM, *dict.fromkeys(path for path in named if os.path.isabs(path) and path != "/")]


def close(bundle: str, *, devices: bool, engine_cache: str | None = None, machine: str | None = None) -> tuple[str, ...]:
    """Close the sandbox and tell what is in force.

    `bundle` can still be read. With `devices` it is looser: every file can be read, those below /dev and `engine_cache`
    (a folder, made here) written, and local sockets connected. `machine` is this one's, if it is not told.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return ()  # without it the kernel grants the other two to root alone
    writable: list[str] = []
    if devices:
        writable.append("/dev")
        if engine_cache is not None:
            with contextlib.suppress(OSError):  # the provider finds out, and says so
                os.makedirs(engine_cache, exist_ok=True)
            writable.append(engine_cache)
    confined = landlock.restrict(libc, ["/"] if devices else [*readable(), bundle], writable, sockets=devices)
    filtered = _filter(libc, os.uname().machine if machine is None else machine, devices)
    return (
        NO_NEW_PRIVS,
        *((SECCOMP,) if filtered else ()),
        *((LANDLOCK,) if confined else ()),
        *((NO_NETWORK,) if filtered else ()),
        *((READ_ONLY,) if (filtered or confined) and not devices else ()),
    )


def _filter(libc: Any, machine: str, devices: bool) -> bool:
    code = system_calls.program(machine, os.getpid(), devices=devices)
    # A 32-bit program on a 64-bit kernel makes calls of another architecture: all of them would be refused.
    if code is None or sys.maxsize < 2**32:
        return False
    filter_ = _Filter(len(code) // 8, code)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0) == 0)
