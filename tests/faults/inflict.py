"""What a fault does to a world, from its begin to its end. Random moments come from the seed alone."""

import contextlib
import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.faults.programs import until
from tests.faults.world import DISK_BYTES, KEEPALIVE, World, can_mount

Inflict = Callable[[World, random.Random], None]

THREE_KEEPALIVES: Final = 3 * KEEPALIVE
_PAGE: Final = 4096
_FREE_AGAIN_AFTER: Final = (2.0, 5.0)


def nothing(_world: World, moments: random.Random) -> None:
    """What the others are compared with."""
    time.sleep(moments.uniform(4.0, 8.0))


def kill(target: str) -> Inflict:
    """SIGKILL, and start again."""

    def inflict(world: World, moments: random.Random) -> None:
        world.targets[target].kill()
        time.sleep(moments.uniform(0.1, 1.5))
        world.targets[target].start()

    return inflict


def pause(target: str) -> Inflict:
    """SIGSTOP for three keep-alives, then SIGCONT."""

    def inflict(world: World, _moments: random.Random) -> None:
        world.targets[target].pause()
        time.sleep(THREE_KEEPALIVES)
        world.targets[target].resume()

    return inflict


def restart(target: str) -> Inflict:
    """SIGTERM, and start again."""

    def inflict(world: World, moments: random.Random) -> None:
        world.targets[target].stop()
        time.sleep(moments.uniform(0.0, 1.0))
        world.targets[target].start()

    return inflict


def kill_with_backlog(world: World, moments: random.Random) -> None:
    """The site broker is killed while the agent works off what has queued up there."""
    world.agent.pause()
    time.sleep(moments.uniform(6.0, 10.0))
    world.agent.resume()
    time.sleep(moments.uniform(0.3, 2.0))
    kill("site broker")(world, moments)


def cut(link: str) -> Inflict:
    """All connections reset, and every new one."""

    def inflict(world: World, moments: random.Random) -> None:
        world.proxies[link].cut()
        time.sleep(moments.uniform(0.2, 5.0))
        world.proxies[link].restore()

    return inflict


def half_open(link: str) -> Inflict:
    """Connections stay, but no byte goes through: for less than a keep-alive, or for long enough that both ends give up."""

    def inflict(world: World, moments: random.Random) -> None:
        world.proxies[link].hold()
        time.sleep(moments.choice((moments.uniform(1.0, KEEPALIVE), moments.uniform(2 * KEEPALIVE, THREE_KEEPALIVES))))
        world.proxies[link].restore()

    return inflict


def slowed(link: str) -> Inflict:
    """A few kilobytes a second: a fraction of what the stream needs."""

    def inflict(world: World, moments: random.Random) -> None:
        world.proxies[link].slow(moments.uniform(4_000, 20_000))
        time.sleep(moments.uniform(4.0, 10.0))
        world.proxies[link].restore()

    return inflict


def reset_mid_packet(link: str) -> Inflict:
    """Part of what comes is forwarded, then the connection is reset."""

    def inflict(world: World, moments: random.Random) -> None:
        world.proxies[link].reset_mid_packet(moments.random())

    return inflict


def disk_full(world: World, moments: random.Random) -> None:
    """The agent's disk is filled to the last byte, and freed after some seconds."""
    before = refusals(world)
    if not can_mount():
        print("not root: the kernel refuses the agent's writes by RLIMIT_FSIZE, instead of a tmpfs that is full")
        pid = world.agent.pid
        old = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, old[1]))
        until(lambda: refusals(world) > before, "the agent meets the refused writes", 30.0)
        time.sleep(moments.uniform(*_FREE_AGAIN_AFTER))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
        return
    filler = world.state / "somebody else's file"
    with filler.open("wb", buffering=0) as file:
        end = time.monotonic() + moments.uniform(*_FREE_AGAIN_AFTER)
        while time.monotonic() < end or refusals(world) <= before:
            with contextlib.suppress(OSError):  # full, which is what is wanted; the agent's own files may shrink, so again
                file.write(bytes(DISK_BYTES // 64))
                continue
            with contextlib.suppress(OSError):
                file.write(b"\0")
            time.sleep(0.05)
            assert time.monotonic() < end + 60.0, f"the agent never met the full disk; {world.status()}"
    filler.unlink()


def refusals(world: World) -> int:
    """Group commits that the agent's store refused since its start."""
    status = world.status()
    return 0 if status is None else int(status["counters"].get("commits_refused", 0))


def damage_store(world: World, moments: random.Random) -> None:
    """The agent is killed, bytes of agent.db are overwritten, and it is started again."""
    world.agent.kill()
    database = world.state / "agent.db"
    world.before_damage = copy_store(database, world.folder / "before-damage")
    size = database.stat().st_size
    with database.open("r+b") as file:
        kind = moments.choice(("head", "middle", "truncated"))
        if kind == "head":  # with the log's head, or SQLite would read the first page from there
            file.write(moments.randbytes(_PAGE))
            log = Path(f"{database}-wal")
            if log.exists():
                with log.open("r+b") as pages:
                    pages.write(moments.randbytes(32))
        elif kind == "middle":
            for _ in range(8):
                file.seek(moments.randrange(size // _PAGE) * _PAGE)
                file.write(moments.randbytes(_PAGE))
        else:
            file.truncate(moments.randrange(size // 4, size))
    time.sleep(moments.uniform(0.0, 1.0))
    world.agent.start()


def copy_store(database: Path, folder: Path) -> Path:
    """agent.db as the killed agent left it."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        if (part := Path(f"{database}{suffix}")).exists():
            shutil.copy(part, folder / part.name)
    return folder / database.name


def step_clock(seconds: int | None) -> Inflict:
    """The agent's wall clock is set off by so many seconds, or to 1970 (None), and after some seconds set right again."""

    def inflict(world: World, moments: random.Random) -> None:
        world.step_clock(10 - round(time.time()) if seconds is None else seconds)
        time.sleep(moments.uniform(2.0, 5.0))
        if moments.random() < 0.5:  # a device that starts with the wrong time, as without a battery
            world.agent.kill()
            world.agent.start()
            time.sleep(moments.uniform(1.0, 3.0))
        world.step_clock(0)

    return inflict


def silent_controller(world: World, moments: random.Random) -> None:
    """The controller is away until the outbox is full and the site broker gets no acknowledgement any more, and then longer."""
    world.controller.stop()
    until(lambda: refusals(world) >= 3, lambda: f"the outbox fills up; {world.status()}", 90.0)
    time.sleep(moments.uniform(1.0, 6.0))
    world.controller.start()
