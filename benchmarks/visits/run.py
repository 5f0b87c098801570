"""Takes every server under test through its visits, round after round, and keeps what was read.

Servers take turns within a visit, and visits within a round, so that a neighbour on the machine disturbs all of them
alike; ratios are between figures of one round.
"""

import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from benchmarks.rig.contender import Contender, place, started
from benchmarks.rig.load import loading
from benchmarks.visits.plan import Visit
from benchmarks.visits.scenarios import WARM, Figures, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one server's visit brought."""

    round: int
    visit: str
    contender: str
    figures: Figures
    error: str | None = None
    """Why there are no more figures."""

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def rounds(visits: Iterable[Visit], *, count: int, seconds: float) -> Iterable[Reading]:
    """`count` rounds of all visits; a server that fails is noted, and the others go on."""
    planned = [
        (number, visit, contender)
        for number in range(count)
        for visit in visits
        if visit.takes_part(number, count)
        for contender in visit.contenders
    ]
    for number, visit, contender in planned:
        began = time.monotonic()
        figures: Figures = {}
        error = _attempt(visit, contender, seconds, figures)
        took_s = time.monotonic() - began
        print(f"round {number + 1}: {visit.name}, {contender.name}: {took_s:.0f} s", file=sys.stderr, flush=True)
        yield Reading(round=number, visit=visit.name, contender=contender.name, figures=figures, error=error)


def _attempt(visit: Visit, contender: Contender, seconds: float, figures: Figures) -> str | None:
    try:
        go(visit, contender, seconds, figures)
    except Exception as error:
        # Whatever it was: the other servers' figures are worth having.
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def go(visit: Visit, contender: Contender, seconds: float, figures: Figures) -> None:
    """One server through one visit; what is read is put into `figures` as it comes."""
    with place() as here:
        memory_only = ["--save", "", "--dir", str(here.directory), "--bind", "127.0.0.1"]
        broker = ["redis-server", "--port", str(here.redis_port), *memory_only]
        with started(broker, here.redis_port, here.directory / "redis.log") as redis:
            contender.prepare(here)
            env, log = contender.env(here), here.directory / "server.log"
            with (
                started(contender.command(here), here.port, log, env) as server,
                loading(contender, here, followers=visit.followers + WARM, topics=visit.topics) as load,
            ):
                site = Site(load=load, server=server, redis=redis, seconds=seconds)
                for scenario in visit.scenarios:
                    figures |= scenario(site)
