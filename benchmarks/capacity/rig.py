"""Servers and loads of benchmarks/, up for as long as a `with` lasts, with precedence over the machine's neighbours.

A thin layer over `contenders` and `load`: the rig's own visits end a server after its scenarios, while a calibration
has two of them up at once, a small one and a great one, and asks them in turns.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks.rig import machine
from benchmarks.rig.contender import Contender, Place, place, started
from benchmarks.rig.load import Load, Seen, loading

PRECEDENCE = "-20"


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """A server that is up."""

    contender: Contender
    place: Place
    server: int
    redis: int
    loader: int
    """Process ids, all three."""
    load: Load
    boot_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Microseconds of CPU while something was done, and what was seen of it."""

    server_us: float
    redis_us: float
    load_us: float
    seen: Seen


@contextmanager
def up(contender: Contender, *, followers: int, topics: int = 1) -> Iterator[Up]:
    """Start it with a Redis of its own; end both."""
    with place() as here:
        memory_only = ["--save", "", "--dir", str(here.directory), "--bind", "127.0.0.1"]
        broker = ["redis-server", "--port", str(here.redis_port), *memory_only]
        with started(broker, here.redis_port, here.directory / "redis.log") as redis:
            contender.prepare(here)
            began = monotonic()
            command, log = contender.command(here), here.directory / "server.log"
            with started(command, here.port, log, contender.env(here)) as server:
                boot_s = monotonic() - began
                prefer(redis, server)
                ours = set(machine.family(os.getpid()))
                with loading(contender, here, followers=followers, topics=topics) as load:
                    (loader,) = set(machine.family(os.getpid())) - ours
                    yield Up(
                        contender=contender,
                        place=here,
                        server=server,
                        redis=redis,
                        loader=loader,
                        load=load,
                        boot_s=boot_s,
                    )


def prefer(*processes: int) -> None:
    """Put the sessions of these, and ours, before all others on the machine, where the account may."""
    for process in (*processes, os.getpid()):
        # Where the kernel groups by session, the nice value of a process counts within its session only.
        with suppress(OSError):
            Path(f"/proc/{process}/autogroup").write_text(PRECEDENCE)


def spent(it: Up, act: Callable[[], Seen]) -> Spent:
    """What it costs."""
    before = [machine.cpu_us(process) for process in (it.server, it.redis, it.loader)]
    seen = act()
    after = [machine.cpu_us(process) for process in (it.server, it.redis, it.loader)]
    server_us, redis_us, load_us = (b - a for a, b in zip(before, after, strict=True))
    return Spent(server_us=server_us, redis_us=redis_us, load_us=load_us, seen=seen)
