"""Which system calls a worker may not make, and the BPF program that seccomp runs on each call. Pure.

What is not listed is allowed: a list of the allowed ones would be another for each runtime and C library. So that it cannot be
walked around, calls newer than those that were judged here do not exist (ENOSYS, as on an older kernel), and neither do calls
whose arguments a filter cannot read (`clone3`, `openat2`): C libraries then use the older ones. What is refused gets EPERM and
not a signal: a runtime that only looks what is there goes on without it.

Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux; the program's form
is https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

import errno
import struct
from collections.abc import Mapping

NEWEST = 450
"""The highest number that was judged; the numbers of new calls are the same on every architecture."""

ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
REFUSE, ABSENT = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS

AF_UNIX, AF_NETLINK = 1, 16
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000  # every flag that makes a namespace
_OPENS_FOR_WRITING = 0o3 | 0o100 | 0o1000  # O_WRONLY and O_RDWR, O_CREAT, O_TRUNC
_PR_SET_PDEATHSIG = 1
_F_SETOWN, _F_SETOWN_EX = 8, 15
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_ABOVE, _IF_BITS = 0x15, 0x25, 0x45
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, value."""
Table = Mapping[str, tuple[int, int | None]]
"""Name to its number on x86-64 and on aarch64 (None where only the older one has the call)."""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""`os.uname().machine` to its column in the tables below and to its AUDIT_ARCH."""

PROGRAMS: Table = {"execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None)}
OTHER_PROCESSES: Table = {
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
USERS: Table = {
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "setgroups": (116, 159),
    "capset": (126, 91),
}
KERNEL: Table = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "vhangup": (153, 58),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "uselib": (134, None),
    "modify_ldt": (154, None),
    "open_by_handle_at": (304, 265),
    "mknod": (133, None),
    "mknodat": (259, 33),
}
NETWORK: Table = {
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
}
"""Without `socket`, whose first argument is the family."""
FILES: Table = {
    "creat": (85, None),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
UNREADABLE: Table = {"clone3": (435, 435), "openat2": (437, 437)}
"""Their arguments lie in memory, where a filter cannot look."""
JUDGED: Table = {
    "clone": (56, 220),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "prctl": (157, 167),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "socket": (41, 198),
    "open": (2, None),
    "openat": (257, 56),
}
"""By their arguments."""
_ON_ONESELF = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")


def program(machine: str, pid: int, *, devices: bool) -> bytes | None:
    """The filter for a process of this id, None for a machine that is not listed.

    `devices`: an accelerator's driver is to work, so device files may be opened for writing and local sockets connected.
    """
    if machine not in MACHINES:
        return None
    column, architecture = MACHINES[machine]

    def numbers(table: Table) -> list[int]:
        return [number for pair in table.values() if (number := pair[column]) is not None]

    judged = {name: pair[column] for name, pair in JUDGED.items()}
    refused = [*numbers(PROGRAMS), *numbers(OTHER_PROCESSES), *numbers(USERS), *numbers(KERNEL)]
    if not devices:
        refused += [*numbers(NETWORK), *numbers(FILES)]
    code = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_IF_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, REFUSE)]
    code += [(_LOAD, 0, 0, _NUMBER_AT), (_IF_ABOVE, 0, 1, NEWEST), (_RETURN, 0, 0, ABSENT)]
    for verdict, listed in ((ABSENT, numbers(UNREADABLE)), (REFUSE, refused)):
        for number in listed:
            code += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, verdict)]
    code += _judge(judged["clone"], 0, [(_AND, 0, 0, _CLONE_THREAD | _CLONE_NEW), *_only(_CLONE_THREAD)])
    for name in ("kill", "tgkill"):
        code += _judge(judged[name], 0, _only(pid))
    for name in _ON_ONESELF:
        code += _judge(judged[name], 0, _only(0, pid))
    code += _judge(judged["prctl"], 0, _none_of(_PR_SET_PDEATHSIG))
    code += _judge(judged["fcntl"], 1, _none_of(_F_SETOWN, _F_SETOWN_EX))
    code += _judge(judged["ioctl"], 1, _none_of(_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP))
    code += _judge(judged["socket"], 0, _only(AF_UNIX, AF_NETLINK) if devices else [(_RETURN, 0, 0, REFUSE)])
    if not devices:
        reads = [(_IF_BITS, 0, 1, _OPENS_FOR_WRITING), (_RETURN, 0, 0, REFUSE), (_RETURN, 0, 0, ALLOW)]
        code += _judge(judged["open"], 1, reads) + _judge(judged["openat"], 2, reads)
    code.append((_RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _judge(number: int | None, argument: int, body: list[Instruction]) -> list[Instruction]:
    """Run `body`, which ends with a verdict, on the lower half of a call's argument: the kernel looks at no more of these."""
    if number is None:
        return []
    return [(_IF_EQUAL, 0, len(body) + 1, number), (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument), *body]


def _only(*values: int) -> list[Instruction]:
    tests = [(_IF_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, REFUSE), (_RETURN, 0, 0, ALLOW)]


def _none_of(*values: int) -> list[Instruction]:
    tests = [(_IF_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, REFUSE)]
