"""Landlock: which files a worker may still open; no TCP, no signals to other processes. Since Linux 5.13, where switched on.

Calls, numbers and rights: https://docs.kernel.org/userspace-api/landlock.html; the numbers are the same on every architecture.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
READ = READ_FILE | READ_DIR
_TCP = 0b11
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1


def file_rights(version: int) -> int:
    """Every right on files that a kernel with this version of Landlock knows."""
    count = 13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16
    return (1 << count) - 1


def restrict(libc: Any, readable: Iterable[str], writable: Iterable[str], *, sockets: bool) -> bool:
    """Confine this thread and those that it starts; False where the kernel refuses. `no_new_privs` has to be set.

    Afterwards files outside `readable` and `writable` (paths; what does not exist is left out) cannot be opened, and nothing
    executed. `sockets`: abstract Unix sockets of other processes may be connected.
    """
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    handled = file_rights(version)
    scopes = 0 if version < 6 else _SIGNALS if sockets else _SIGNALS | _ABSTRACT_SOCKETS
    attributes = struct.pack("=QQQ", handled, _TCP if version >= 4 else 0, scopes)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for paths, rights in ((readable, READ), (writable, handled & ~(EXECUTE | _MAKE_CHAR | _MAKE_BLOCK))):
            for path in paths:
                _allow(libc, ruleset, path, rights)
        confined: bool = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
        return confined
    finally:
        os.close(ruleset)


def _allow(libc: Any, ruleset: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            rights &= _OF_FILES
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, file), 0)
    finally:
        os.close(file)
