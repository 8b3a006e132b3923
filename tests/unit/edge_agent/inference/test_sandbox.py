"""The sandbox closed for real, in processes of their own: what is refused there, what still works, and what is told."""

import ctypes
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.inference.worker import sandbox
from edge_agent.inference.worker.landlock import file_rights

LANDLOCK_HERE = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0
EVERYTHING = ("no_new_privs", "seccomp", *(("landlock",) if LANDLOCK_HERE else ()), "no_network", "read_only")

PRELUDE = """
import ctypes, errno, json, os, resource, socket, subprocess, sys, threading
from edge_agent.inference.worker import sandbox
libc = ctypes.CDLL(None, use_errno=True)
folder, parent = sys.argv[1], os.getppid()
told = {}
def attempt(name, call):
    try:
        told[name] = call()
    except OSError as error:
        told[name] = errno.errorcode[error.errno]
def native(name, *arguments):
    def call():
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), name)
    attempt(name, call)
def read(path):
    with open(path, "rb") as file:
        return file.read(4).decode("latin-1")
def write(path):
    with open(path, "ab") as file:
        return file.write(b"x")
"""
ATTEMPTS = """
told["in_force"] = sandbox.close(folder + "/bundle", devices=False)
attempt("internet socket", lambda: socket.socket().fileno())
attempt("local socket", lambda: socket.socket(socket.AF_UNIX).fileno())
attempt("socket of a thread", lambda: [thread := threading.Thread(target=attempt, args=("in thread", socket.socket)),
                                       thread.start(), thread.join(), told["in thread"]][-1])
native("connect", 0, b"", 0)
attempt("program", lambda: os.execv(sys.executable, [sys.executable]))
attempt("fork", os.fork)
attempt("child", lambda: subprocess.run([sys.executable, "-c", ""]).returncode)
attempt("spawn", lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}))
attempt("signal to the parent", lambda: os.kill(parent, 0))
attempt("limit of the parent", lambda: resource.prlimit(parent, resource.RLIMIT_CORE, (0, 0)))
native("ptrace", 16, parent, 0, 0)
native("process_vm_readv", parent, None, 0, None, 0, 0)
native("unshare", 0)
native("mount", None, b"/", None, 0, None)
native("prctl", 1, 0, 0, 0, 0)
attempt("new file", lambda: write(folder + "/new"))
attempt("old file", lambda: write(folder + "/bundle"))
attempt("device", lambda: write("/dev/null"))
attempt("remove", lambda: os.unlink(folder + "/bundle"))
attempt("rename", lambda: os.rename(folder + "/bundle", folder + "/other"))
attempt("folder", lambda: os.mkdir(folder + "/made"))
attempt("mode", lambda: os.chmod(folder + "/bundle", 0o777))
attempt("read the bundle", lambda: read(folder + "/bundle"))
attempt("read a secret", lambda: read(folder + "/secret"))
attempt("read the parent's memory", lambda: os.close(os.open(f"/proc/{parent}/mem", os.O_RDONLY)))
attempt("read its own maps", lambda: len(read("/proc/self/maps")))
attempt("import", lambda: len(__import__("xml.dom.minidom").__name__))
attempt("signal to itself", lambda: os.kill(os.getpid(), 0))
attempt("own limits", lambda: resource.getrlimit(resource.RLIMIT_CORE)[0] >= -1)
attempt("memory file", lambda: os.write(os.memfd_create("m"), b"1234"))
threads = [threading.Thread(target=told.__setitem__, args=(f"thread {number}", number)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(told))
"""


def run(folder: Path, script: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(folder)], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "bundle").write_text("model")
    (folder / "secret").write_text("token")
    attempts = run(folder, ATTEMPTS)
    assert sorted(path.name for path in folder.iterdir()) == ["bundle", "secret"]
    assert (folder / "bundle").read_text() == "model"
    return attempts


@pytest.mark.parametrize(
    "attempt",
    [
        "internet socket",
        "local socket",
        "socket of a thread",
        "connect",
        "program",
        "fork",
        "child",
        "spawn",
        "signal to the parent",
        "limit of the parent",
        "ptrace",
        "process_vm_readv",
        "unshare",
        "mount",
        "prctl",
        "new file",
        "old file",
        "device",
        "remove",
        "rename",
        "folder",
        "mode",
    ],
)
def test_a_closed_sandbox_refuses(attempt: str, told: dict[str, Any]) -> None:
    assert told[attempt] == "EPERM"


@pytest.mark.parametrize(
    ("attempt", "result"),
    [
        ("read the bundle", "mode"),
        ("read its own maps", 4),
        ("import", 3),
        ("signal to itself", None),
        ("own limits", True),
        ("memory file", 4),
        ("thread 0", 0),
        ("thread 1", 1),
    ],
)
def test_in_a_closed_sandbox_still_works(attempt: str, result: Any, told: dict[str, Any]) -> None:
    assert told[attempt] == result


def test_the_secrets_of_the_daemon_can_be_read_only_where_the_kernel_has_no_landlock(told: dict[str, Any]) -> None:
    assert told["read a secret"] == ("EACCES" if LANDLOCK_HERE else "toke")
    assert told["read the parent's memory"] == ("EACCES" if LANDLOCK_HERE else None)


def test_what_is_in_force_is_told(told: dict[str, Any]) -> None:
    assert tuple(told["in_force"]) == EVERYTHING


def test_landlock_alone_keeps_files_programs_and_signals(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("model")
    script = """
told["in_force"] = sandbox.close(folder + "/bundle", devices=False, machine="riscv64")
attempt("new file", lambda: write(folder + "/new"))
attempt("device", lambda: write("/dev/null"))
attempt("child", lambda: subprocess.run([sys.executable, "-c", ""], stderr=subprocess.DEVNULL).returncode)
attempt("socket", lambda: socket.socket().fileno() > 0)
attempt("read the bundle", lambda: read(folder + "/bundle"))
print(json.dumps(told))
"""
    got = run(tmp_path, script)
    assert tuple(got["in_force"]) == (("no_new_privs", "landlock", "read_only") if LANDLOCK_HERE else ("no_new_privs",))
    assert got["read the bundle"] == "mode"
    assert got["socket"] is True
    if LANDLOCK_HERE:
        assert (got["new file"], got["device"], got["child"]) == ("EACCES", "EACCES", "EACCES")


def test_a_driver_gets_devices_local_sockets_and_its_cache_and_no_more(tmp_path: Path) -> None:
    script = """
told["in_force"] = sandbox.close(folder + "/bundle", devices=True, engine_cache=folder + "/engines/model")
attempt("device", lambda: write("/dev/null"))
attempt("local socket", lambda: socket.socket(socket.AF_UNIX).fileno() > 0)
attempt("internet socket", lambda: socket.socket().fileno() > 0)
attempt("engine", lambda: write(folder + "/engines/model/engine"))
attempt("new file", lambda: write(folder + "/new"))
attempt("any file", lambda: read(folder + "/library"))
attempt("fork", os.fork)
attempt("signal to the parent", lambda: os.kill(parent, 0))
print(json.dumps(told))
"""
    (tmp_path / "library").write_text("code")
    got = run(tmp_path, script)
    assert "read_only" not in got.pop("in_force")
    assert got == {
        "device": 1,
        "local socket": True,
        "internet socket": "EPERM",
        "engine": 1,
        "new file": "EACCES" if LANDLOCK_HERE else 1,
        "any file": "code",
        "fork": "EPERM",
        "signal to the parent": "EPERM",
    }


def outer_filter(number: int, value: int | None, error: int) -> str:
    """Source that makes one system call fail, where its first argument is `value`, as under a stricter service or container."""
    test = [] if value is None else [(0x20, 0, 0, 16), (0x15, 0, 1, value)]
    refusal = [*test, (0x06, 0, 0, 0x00050000 | error)]
    code = [(0x20, 0, 0, 0), (0x15, 0, len(refusal), number), *refusal, (0x06, 0, 0, 0x7FFF0000)]
    program = b"".join(struct.pack("=HBBI", *line) for line in code)
    return (
        "libc.prctl(38, 1, 0, 0, 0)\n"
        f"code = {program!r}\n"
        "class Program(ctypes.Structure):\n    _fields_ = [('length', ctypes.c_ushort), ('code', ctypes.c_char_p)]\n"
        "assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0\n"
    )


PRCTL = {"x86_64": 157, "aarch64": 167}[os.uname().machine]


@pytest.mark.parametrize(
    ("refused", "missing"),
    [
        ((444, None, 38), {"landlock"}),
        ((446, None, 1), {"landlock"}),
        ((PRCTL, 22, 22), {"seccomp", "no_network"}),
        ((PRCTL, 38, 22), set(EVERYTHING)),
    ],
    ids=["no Landlock", "Landlock refused", "no seccomp", "no no_new_privs"],
)
def test_what_the_kernel_refuses_is_left_out_and_costs_nothing_else(
    refused: tuple[int, int | None, int], missing: set[str], tmp_path: Path
) -> None:
    (tmp_path / "bundle").write_text("model")
    script = 'told["in_force"] = sandbox.close(folder + "/bundle", devices=False)\nprint(json.dumps(told))\n'
    got = run(tmp_path, outer_filter(*refused) + script)
    expected = tuple(word for word in EVERYTHING if word not in missing)
    if expected == ("no_new_privs", "read_only"):
        expected = ("no_new_privs",)
    assert tuple(got["in_force"]) == expected


@pytest.mark.parametrize(
    ("require", "delegates", "needed"),
    [
        ((), (), False),
        (("cpu",), (), False),
        (("xnnpack", "cpu"), (), False),
        (("tensorrt", "cuda", "cpu"), (), True),
        ((), ("edgetpu",), True),
    ],
)
def test_the_sandbox_is_looser_only_for_accelerators(
    require: tuple[str, ...], delegates: tuple[str, ...], needed: bool
) -> None:
    assert sandbox.needs_devices(require, delegates) is needed


def test_the_root_of_the_file_system_is_never_readable_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/", "relative", "/srv/packages"])
    monkeypatch.setenv("LD_LIBRARY_PATH", "/srv/libraries::")
    paths = sandbox.readable()
    assert {"/srv/packages", "/srv/libraries", sys.prefix} <= set(paths)
    assert not {"", "/", "relative"} & set(paths)


@pytest.mark.parametrize(("version", "bits"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (9, 16)])
def test_only_rights_that_the_kernel_knows_are_asked_for(version: int, bits: int) -> None:
    assert file_rights(version) == 2**bits - 1
