"""The filter as a program that is run here by hand, so that it is tried for both architectures; numbers by the headers."""

import errno
import os
import re
import struct
import subprocess
from collections.abc import Mapping

import pytest

from edge_agent.inference.worker import system_calls
from edge_agent.inference.worker.system_calls import ABSENT, ALLOW, JUDGED, MACHINES, REFUSE, program

PID = 4321
BOTH = pytest.mark.parametrize("machine", MACHINES)
ALWAYS = {**system_calls.PROGRAMS, **system_calls.OTHER_PROCESSES, **system_calls.USERS, **system_calls.KERNEL}
WITHOUT_DEVICES = {**system_calls.NETWORK, **system_calls.FILES}
TABLES = {**ALWAYS, **WITHOUT_DEVICES, **system_calls.UNREADABLE, **JUDGED}


def run(code: bytes, data: bytes) -> int:
    """What the kernel's machine would return; only the instructions that the filter has."""
    value = at = 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif operation == 0x54:
            value &= operand
        elif operation == 0x06:
            return int(operand)
        else:
            holds = {0x15: value == operand, 0x25: value > operand, 0x45: bool(value & operand)}[operation]
            at += if_true if holds else if_false


def ask(machine: str, number: int | None, *arguments: int, devices: bool = False, architecture: int | None = None) -> int:
    code = program(machine, PID, devices=devices)
    assert code is not None
    assert number is not None
    mask = 2**64 - 1
    values = [argument & mask for argument in (*arguments, *[0] * (6 - len(arguments)))]
    own = MACHINES[machine][1]
    return run(code, struct.pack("=IIQ6Q", number, own if architecture is None else architecture, 0, *values))


def number_of(machine: str, name: str) -> int | None:
    number: int | None = TABLES[name][MACHINES[machine][0]]
    return number


@BOTH
@pytest.mark.parametrize("devices", [False, True])
def test_what_is_never_needed_is_refused(machine: str, devices: bool) -> None:
    for name in ALWAYS:
        number = number_of(machine, name)
        if number is not None:
            assert ask(machine, number, PID, devices=devices) == REFUSE, name


@BOTH
def test_network_and_changes_of_files_are_refused_unless_a_driver_needs_them(machine: str) -> None:
    for name in WITHOUT_DEVICES:
        number = number_of(machine, name)
        if number is not None:
            assert ask(machine, number) == REFUSE, name
            assert ask(machine, number, devices=True) == ALLOW, name


@BOTH
def test_calls_that_were_not_judged_or_cannot_be_read_do_not_exist(machine: str) -> None:
    for number in (451, 500, 0x40000000 | 59, 2**31):
        assert ask(machine, number) == ABSENT
    assert ask(machine, 435) == ask(machine, 437) == ABSENT
    assert ABSENT & 0xFFFF == errno.ENOSYS
    assert REFUSE & 0xFFFF == errno.EPERM


@BOTH
def test_calls_of_another_architecture_are_refused(machine: str) -> None:
    assert ask(machine, 3, architecture=0x40000003) == REFUSE


@BOTH
def test_threads_are_allowed_and_processes_and_namespaces_are_not(machine: str) -> None:
    clone = number_of(machine, "clone")
    assert ask(machine, clone, 0x3D0F00) == ALLOW  # what glibc passes for a thread
    assert ask(machine, clone, 17) == REFUSE  # fork: SIGCHLD
    assert ask(machine, clone, 0x4111) == REFUSE  # posix_spawn: CLONE_VM, CLONE_VFORK, SIGCHLD
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(machine, clone, 0x3D0F00 | flag) == REFUSE


@BOTH
def test_a_worker_may_do_to_itself_what_it_may_not_do_to_others(machine: str) -> None:
    for name in ("kill", "tgkill"):
        assert ask(machine, number_of(machine, name), PID) == ALLOW
        for other in (0, 1, -1, PID + 1, -PID):
            assert ask(machine, number_of(machine, name), other) == REFUSE
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        assert ask(machine, number_of(machine, name), 0) == ask(machine, number_of(machine, name), PID) == ALLOW
        assert ask(machine, number_of(machine, name), PID + 1) == REFUSE


@BOTH
def test_no_option_takes_it_out_of_the_daemon_s_hands_or_reaches_the_terminal(machine: str) -> None:
    assert ask(machine, number_of(machine, "prctl"), 1, 0) == REFUSE  # PR_SET_PDEATHSIG
    assert ask(machine, number_of(machine, "prctl"), 15) == ALLOW  # PR_SET_NAME, as threads do
    for command in (8, 15):  # F_SETOWN, F_SETOWN_EX
        assert ask(machine, number_of(machine, "fcntl"), 3, command) == REFUSE
    assert ask(machine, number_of(machine, "fcntl"), 3, 3) == ALLOW  # F_GETFL
    for request in (0x5412, 0x541C, 0x8901, 0x8902):  # TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
        assert ask(machine, number_of(machine, "ioctl"), 2, request) == REFUSE
        assert ask(machine, number_of(machine, "ioctl"), 2, request | 1 << 32) == REFUSE
    assert ask(machine, number_of(machine, "ioctl"), 2, 0x5401) == ALLOW  # TCGETS, as isatty does


@BOTH
def test_files_are_opened_for_reading_alone_unless_a_driver_is_to_work(machine: str) -> None:
    calls = {"openat": (-100, 0)} | ({"open": (0,)} if number_of(machine, "open") is not None else {})
    for name, before in calls.items():
        number = number_of(machine, name)
        assert ask(machine, number, *before, 0o2000000 | 0o200000) == ALLOW  # O_CLOEXEC, O_DIRECTORY
        for flags in (1, 2, 3, 0o100, 0o1000, 0o20200001):
            assert ask(machine, number, *before, flags) == REFUSE
        assert ask(machine, number, *before, 2, devices=True) == ALLOW


@BOTH
def test_a_driver_may_speak_to_local_services_and_to_nobody_else(machine: str) -> None:
    number = number_of(machine, "socket")
    for family in (1, 2, 10, 16, 17):
        assert ask(machine, number, family) == REFUSE
    assert [family for family in range(50) if ask(machine, number, family, devices=True) == ALLOW] == [1, 16]


def test_there_is_no_filter_for_a_machine_that_nobody_judged() -> None:
    assert program("riscv64", PID, devices=False) is None


def headers(start: str) -> Mapping[str, int]:
    """System calls and their numbers by the kernel's headers; `__NR3264_x` is x where both word sizes share a number."""
    wants = ("SYS_CLONE3", "RENAMEAT", "SET_GET_RLIMIT", "NEW_STAT")
    command = ["gcc", "-E", "-dM", *(f"-D__ARCH_WANT_{name}" for name in wants), "-x", "c", "-"]
    told = subprocess.run(command, input=f"#include <{start}>\n", capture_output=True, text=True, check=True).stdout
    defined = dict(re.findall(r"(?m)^#define (__NR\w+) (\w+)$", told))
    numbers = {}
    for name, value in defined.items():
        number = defined.get(value, value)
        if name.startswith("__NR_") and number.isdigit():
            numbers[name.removeprefix("__NR_")] = int(number)
    return numbers


HEADERS = {"aarch64": "asm-generic/unistd.h", os.uname().machine: "asm/unistd.h"}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_the_kernel(machine: str) -> None:
    known = headers(HEADERS[machine])
    assert known["execveat"] == number_of(machine, "execveat")
    wrong = {name for name in TABLES if name in known and known[name] != number_of(machine, name)}
    missing = {name for name in TABLES if name not in known and number_of(machine, name) is not None}
    # Headers may be older than the newest calls here.
    assert (wrong, {name for name in missing if (number_of(machine, name) or 0) < 434}) == (set(), set())


@pytest.mark.parametrize("machine", HEADERS)
def test_what_runtimes_live_on_is_allowed(machine: str) -> None:
    known = headers(HEADERS[machine])
    for name in ("read", "write", "pread64", "pwritev", "mmap", "munmap", "mprotect", "futex", "madvise", "recvfrom", "sendto"):
        assert ask(machine, known[name]) == ALLOW, name
