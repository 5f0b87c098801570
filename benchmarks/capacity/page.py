"""The tables of docs/capacity.md, made from the kept calibration and put between the page's marks.

A block stands between `<!-- name -->` and `<!-- /name -->`; everything else on the page is written by hand.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.capacity import sizing
from benchmarks.capacity.figures import MOST_ERROR
from benchmarks.capacity.kept import Calibration
from benchmarks.capacity.rules import BACKLOG, CONNECTIONS, PORTS, RESTART_S, SOCKET_BYTES, within_s

PAGE: Final = Path(__file__).parents[2] / "docs" / "capacity.md"

ONE_PER_S: Final = 1.0
MOST_PER_S: Final = 10.0


def written(text: str, calibration: Calibration) -> str:
    """The page with its blocks made anew; raises `LookupError` if it lacks one."""
    for name, make in BLOCKS.items():
        block = f"<!-- {name} -->\n\n{make(calibration)}\n\n<!-- /{name} -->"
        # Escaped: a replacement's backslashes would be read as groups.
        text, count = re.subn(f"<!-- {name} -->.*?<!-- /{name} -->", block.replace("\\", r"\\"), text, flags=re.S)
        if count != 1:
            raise LookupError(
                f"{PAGE.name} has {count} blocks “{name}”: put <!-- {name} --><!-- /{name} --> there once."
            )
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def measured(calibration: Calibration) -> str:
    """Where."""
    return f"Measured {calibration.measured}."


def costs(calibration: Calibration) -> str:
    """What each part costs."""
    of = calibration.costs
    kib = of.follower_bytes / 1024
    rows = [
        ("a quiet connection: memory of the process", f"{kib:.1f} KiB"),
        ("the same: memory of the kernel, for its socket", f"{SOCKET_BYTES / 1024:.1f} KiB"),
        ("a frame handed to one follower", us(of.delivery_us)),
        ("a frame made, for all who share it", us(of.frame_us)),
        ("a message of Redis decoded", us(of.envelope_us)),
        ("the process woken by Redis, once for all that has come", us(of.wake_us)),
        ("a handshake: accepted", us(of.accept_us)),
        ("a handshake: read and answered", us(of.upgrade_us)),
        ("a handshake: ticket verified, attached, greeted", us(of.admit_us)),
        ("a read of the store for up to 400 people: the query", us(of.query_us)),
        ("the same: each person", us(of.topic_us)),
        ("the same: each task found", us(of.row_us)),
        ("Redis: a message taken", us(of.redis_message_us)),
        ("Redis: handed to one process", us(of.redis_delivery_us)),
        ("from start to the first connection", f"{of.boot_s:.1f} s"),
    ]
    return table(("what", "cost"), rows)


def check(calibration: Calibration) -> str:
    """How good the prediction was."""
    head = ("figure", "predicted", "measured", "least – most", "error", f"within {MOST_ERROR:.0%}")
    rows = [
        (
            figure.name,
            f"{figure.predicted:.3g} {figure.unit}",
            f"{figure.middle:.3g} {figure.unit}",
            figure.spread,
            f"{figure.error:+.0%}",
            "yes" if figure.is_met else "no",
        )
        for figure in calibration.figures
    ]
    return table(head, rows)


def returns(calibration: Calibration) -> str:
    """One process, and those who come back to it."""
    head = (
        "followers",
        "after a crash: half, all are back",
        "full queue met",
        "reads, most in a second",
        "after a drain: hint",
        "half, all are back",
        "reads, most in a second",
    )
    rows = []
    for share in sizing.SHARES:
        crashed, drained = sizing.returns(calibration.costs, share), sizing.drained(calibration.costs, share)
        rows.append(
            (
                f"{share:,}",
                back(crashed.half_back_s, crashed.all_back_s),
                f"{crashed.turned_away:,}×",
                f"{crashed.peak_reads:,}",
                f"{within_s(share):.0f} s",
                back(drained.half_back_s, drained.all_back_s),
                f"{drained.peak_reads:,}",
            )
        )
    most = sizing.most_followers(calibration.costs)
    verdict = (
        f"So on this machine one process is given **{most:,} followers** in what follows: the most of these that are "
        f"all back within {sizing.BACK_S:.0f} s of a crash."
    )
    return f"{table(head, rows)}\n\n{verdict}"


def own(calibration: Calibration) -> str:
    """Workload (a)."""
    return _steady([sizing.own(calibration.costs, size) for size in sizing.SIZES])


def one(calibration: Calibration) -> str:
    """Workload (b), at two paces."""
    once = [sizing.one(calibration.costs, size, ONE_PER_S) for size in sizing.SIZES]
    most = [sizing.one(calibration.costs, size, MOST_PER_S) for size in sizing.SIZES]
    paces = ("Once a second:", _steady(once), "Ten times a second or more, of which ten are shown:", _steady(most))
    return "\n\n".join(paces)


def _steady(all_sized: list[sizing.Sized]) -> str:
    head = (
        "followers",
        "processes",
        f"machines of {sizing.CORES} cores",
        "of each core",
        "p99",
        "Redis: messages/s",
        "of its core",
        "out of it",
        "to followers",
        "database: reads/s",
    )
    rows = [
        (
            f"{sized.followers:,}",
            f"{sized.processes:,}",
            f"{sized.machines:,}",
            f"{sized.core_share:.0%}",
            f"{sized.p99_ms:,.0f} ms",
            f"{sized.redis_messages:,.0f}",
            f"{sized.redis_share:.1%}",
            mbit(sized.redis_mbit),
            mbit(sized.out_mbit),
            f"{sized.reads:.2g}" if sized.reads < 10 else f"{sized.reads:,.0f}",
        )
        for sized in all_sized
    ]
    return table(head, rows)


def storm(calibration: Calibration) -> str:
    """Workload (c)."""
    head = (
        "followers",
        "processes",
        "all crash: half, all are back",
        "reads/s, most",
        "one of them crashes: its followers are back",
        "all are replaced with a drain: all are back",
        "reads/s, most",
    )
    rows = []
    for size in sizing.SIZES:
        processes = sizing.own(calibration.costs, size).processes
        share = math.ceil(size / processes)
        crashed, drained = sizing.returns(calibration.costs, share), sizing.drained(calibration.costs, share)
        # Those of the dead one come to all; what comes to its own place waits for the successor.
        alone = sizing.returns(calibration.costs, math.ceil(share / processes))
        rows.append(
            (
                f"{size:,}",
                f"{processes:,}",
                back(crashed.half_back_s, crashed.all_back_s),
                f"{processes * crashed.peak_reads:,}",
                seconds(alone.all_back_s),
                seconds(drained.all_back_s),
                f"{processes * drained.peak_reads:,}",
            )
        )
    boot_s = calibration.costs.boot_s
    boot = f"A process that crashed is up again after {RESTART_S:.0f} s and the {boot_s:.1f} s of its start."
    return f"{boot}\n\n{table(head, rows)}"


def limits(calibration: Calibration) -> str:
    """What must be had, at each size."""
    of = calibration.costs
    sizes = [sizing.own(of, size) for size in sizing.SIZES]
    shares = [math.ceil(sized.followers / sized.processes) for sized in sizes]
    rows = [
        ("files of a process", *(f"{share + 100:,}" for share in shares)),
        (
            "callers of a process at once, of whom its queue holds " + f"{BACKLOG:,}",
            *(f"{share:,}" for share in shares),
        ),
        (f"upstream ports, for a proxy with one address ({PORTS:,} each)", *(f"{_ports(sized):,}" for sized in sizes)),
        ("nginx: worker_connections of all workers (two each)", *(f"{2 * sized.followers:,}" for sized in sizes)),
        ("memory of all processes for connections", *(gib(sized.followers * of.follower_bytes) for sized in sizes)),
        ("memory of the kernel for their sockets", *(gib(sized.followers * SOCKET_BYTES) for sized in sizes)),
        (f"`CONNECTIONS` (as it comes: {CONNECTIONS:,})", *(f"≥ {math.ceil(1.5 * share):,}" for share in shares)),
    ]
    return table(("followers", *(f"{size:,}" for size in sizing.SIZES)), rows)


def _ports(sized: sizing.Sized) -> int:
    return math.ceil(sized.followers / PORTS)


def us(figure: float) -> str:
    """In two digits or three."""
    return f"{figure:,.1f} µs" if figure < 10 else f"{figure:,.0f} µs"


def seconds(figure: float) -> str:
    """Or the word that it does not end."""
    return f"{figure:.1f} s" if figure < math.inf else "not in 2 minutes"


def back(half_s: float, all_s: float) -> str:
    """Two instants."""
    return f"{half_s:.1f}, {seconds(all_s)}" if half_s < math.inf else seconds(all_s)


def mbit(figure: float) -> str:
    """A rate."""
    if figure >= 1_000:
        return f"{figure / 1_000:.1f} Gbit/s"
    return f"{figure:.0f} Mbit/s" if figure >= 10 else f"{figure:.2g} Mbit/s"


def gib(size: float) -> str:
    """An amount of memory."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


BLOCKS: Final[dict[str, Callable[[Calibration], str]]] = {
    "measured": measured,
    "costs": costs,
    "check": check,
    "returns": returns,
    "own": own,
    "one": one,
    "storm": storm,
    "limits": limits,
}
