"""The tables of docs/capacity.md, made from the stored calibration and put between the page's marks.

A table is between `<!-- name -->` and `<!-- /name -->`; everything else on the page is written by hand.
"""

import math
from collections.abc import Callable
from typing import Final

from benchmarks.capacity import sizing
from benchmarks.capacity.calibration import Calibration
from benchmarks.capacity.constants import BACKLOG, CONNECTIONS, PORTS, RESTART_S, SOCKET_BYTES, within_s
from benchmarks.capacity.predictions import MAX_ERROR
from benchmarks.results.markdown import table, with_block
from benchmarks.rig.paths import DOCS

PAGE: Final = DOCS / "capacity.md"

ONE_PER_S: Final = 1.0
TEN_PER_S: Final = 10.0


def with_tables(text: str, calibration: Calibration) -> str:
    """The page with all its tables made anew; raises `LookupError` if it lacks one."""
    for name, make in TABLES.items():
        text = with_block(text, name, make(calibration))
    return text


def measured(calibration: Calibration) -> str:
    """When and where the costs were measured."""
    return f"Measured {calibration.measured}."


def costs(calibration: Calibration) -> str:
    """What each part costs."""
    costs = calibration.costs
    rows = [
        ("a quiet connection: memory of the process", f"{costs.follower_bytes / 1024:.1f} KiB"),
        ("a quiet connection: kernel memory of its socket", f"{SOCKET_BYTES / 1024:.1f} KiB"),
        ("writing a frame to one follower", us(costs.delivery_us)),
        ("encoding a frame, for all followers that share it", us(costs.frame_us)),
        ("decoding a message from Redis", us(costs.envelope_us)),
        ("waking up for Redis, once for all messages that are there", us(costs.wake_us)),
        ("a handshake: accepting the connection", us(costs.accept_us)),
        ("a handshake: reading and answering the request", us(costs.upgrade_us)),
        ("a handshake: verifying the ticket, attaching, greeting", us(costs.admit_us)),
        ("reading the store for up to 400 users: the query", us(costs.query_us)),
        ("reading the store: each user", us(costs.topic_us)),
        ("reading the store: each task found", us(costs.row_us)),
        ("Redis: receiving a message", us(costs.redis_message_us)),
        ("Redis: sending it to one process", us(costs.redis_delivery_us)),
        ("from the start of a process to its first connection", f"{costs.boot_s:.1f} s"),
    ]
    return table(("part", "cost"), rows)


def check(calibration: Calibration) -> str:
    """How good the predictions were."""
    head = ("figure", "predicted", "measured", "min – max", "error", f"within {MAX_ERROR:.0%}")
    rows = [
        (
            prediction.name,
            f"{prediction.predicted:.3g} {prediction.unit}",
            f"{prediction.median:.3g} {prediction.unit}",
            prediction.spread,
            f"{prediction.error:+.0%}",
            "yes" if prediction.is_met else "no",
        )
        for prediction in calibration.predictions
    ]
    return table(head, rows)


def one_process(calibration: Calibration) -> str:
    """The clients of one process reconnect."""
    head = (
        "followers",
        "crash: half, all connected after",
        "accept queue was full",
        "peak reads/s",
        "drain: hint",
        "half, all connected after",
        "peak reads/s",
    )
    rows = []
    for count in sizing.FOLLOWERS_PER_PROCESS:
        crash, drain = sizing.after_crash(calibration.costs, count), sizing.after_drain(calibration.costs, count)
        rows.append(
            (
                f"{count:,}",
                half_and_all(crash.half_connected_s, crash.all_connected_s),
                f"{crash.queue_overflows:,}×",
                f"{crash.peak_reads:,}",
                f"{within_s(count):.0f} s",
                half_and_all(drain.half_connected_s, drain.all_connected_s),
                f"{drain.peak_reads:,}",
            )
        )
    verdict = (
        f"So on this machine one process gets at most **{sizing.max_followers(calibration.costs):,} followers** in the "
        f"other tables: the largest of these numbers that all reconnect within {sizing.RECONNECT_WITHIN_S:.0f} s of a "
        "crash."
    )
    return f"{table(head, rows)}\n\n{verdict}"


def own_tasks(calibration: Calibration) -> str:
    """Workload (a)."""
    return _sizing_table([sizing.own_tasks(calibration.costs, size) for size in sizing.SIZES])


def one_task(calibration: Calibration) -> str:
    """Workload (b), at two rates."""
    once = [sizing.one_task(calibration.costs, size, ONE_PER_S) for size in sizing.SIZES]
    often = [sizing.one_task(calibration.costs, size, TEN_PER_S) for size in sizing.SIZES]
    return "\n\n".join(
        (
            "One update a second:",
            _sizing_table(once),
            "Ten updates a second, or more, of which ten are sent:",
            _sizing_table(often),
        )
    )


def _sizing_table(sizings: list[sizing.Sizing]) -> str:
    head = (
        "followers",
        "processes",
        f"machines of {sizing.CORES} cores",
        "share of each core",
        "p99",
        "Redis: messages/s received",
        "share of its core",
        "sent",
        "sent to followers",
        "database: reads/s",
    )
    rows = [
        (
            f"{each.followers:,}",
            f"{each.processes:,}",
            f"{each.machines:,}",
            f"{each.core_share:.0%}",
            f"{each.p99_ms:,.0f} ms",
            f"{each.redis_messages:,.0f}",
            f"{each.redis_share:.1%}",
            mbit(each.redis_mbit),
            mbit(each.out_mbit),
            f"{each.reads:.2g}" if each.reads < 10 else f"{each.reads:,.0f}",
        )
        for each in sizings
    ]
    return table(head, rows)


def whole_site(calibration: Calibration) -> str:
    """Workload (c): the clients of all processes reconnect."""
    head = (
        "followers",
        "processes",
        "all processes crash: half, all connected after",
        "peak reads/s",
        "one process crashes: its followers connected after",
        "all processes drain: all connected after",
        "peak reads/s",
    )
    rows = []
    for size in sizing.SIZES:
        processes = sizing.own_tasks(calibration.costs, size).processes
        share = math.ceil(size / processes)
        crash, drain = sizing.after_crash(calibration.costs, share), sizing.after_drain(calibration.costs, share)
        # Followers of the crashed process connect to all processes; the kernel queues its share for the successor.
        one_crash = sizing.after_crash(calibration.costs, math.ceil(share / processes))
        rows.append(
            (
                f"{size:,}",
                f"{processes:,}",
                half_and_all(crash.half_connected_s, crash.all_connected_s),
                f"{processes * crash.peak_reads:,}",
                seconds(one_crash.all_connected_s),
                seconds(drain.all_connected_s),
                f"{processes * drain.peak_reads:,}",
            )
        )
    boot_s = calibration.costs.boot_s
    restart = (
        f"A crashed process accepts connections again after {RESTART_S:.0f} s and the {boot_s:.1f} s of its start."
    )
    return f"{restart}\n\n{table(head, rows)}"


def limits(calibration: Calibration) -> str:
    """The limits that must be raised, at each size."""
    costs = calibration.costs
    sizings = [sizing.own_tasks(costs, size) for size in sizing.SIZES]
    shares = [math.ceil(each.followers / each.processes) for each in sizings]
    rows = [
        ("open files of a process", *(f"{share + 100:,}" for share in shares)),
        (
            f"clients that connect to a process at once (its queue has room for {BACKLOG:,})",
            *(f"{n:,}" for n in shares),
        ),
        (f"upstream ports, for a proxy with one address ({PORTS:,} each)", *(f"{_ports(each):,}" for each in sizings)),
        ("nginx: worker_connections of all workers (two each)", *(f"{2 * each.followers:,}" for each in sizings)),
        ("connections: memory of all processes", *(gib(each.followers * costs.follower_bytes) for each in sizings)),
        ("connections: kernel memory of their sockets", *(gib(each.followers * SOCKET_BYTES) for each in sizings)),
        (f"`CONNECTIONS` (default: {CONNECTIONS:,})", *(f"≥ {math.ceil(1.5 * share):,}" for share in shares)),
    ]
    return table(("followers", *(f"{size:,}" for size in sizing.SIZES)), rows)


def _ports(site: sizing.Sizing) -> int:
    return math.ceil(site.followers / PORTS)


def us(figure: float) -> str:
    """Microseconds, in two or three digits."""
    return f"{figure:,.1f} µs" if figure < 10 else f"{figure:,.0f} µs"


def seconds(figure: float) -> str:
    """Seconds; an infinite figure did not end within the simulation."""
    return f"{figure:.1f} s" if figure < math.inf else "not in 2 minutes"


def half_and_all(half_s: float, all_s: float) -> str:
    """Two instants."""
    return f"{half_s:.1f}, {seconds(all_s)}" if half_s < math.inf else seconds(all_s)


def mbit(figure: float) -> str:
    """A rate in Mbit/s or Gbit/s."""
    if figure >= 1_000:
        return f"{figure / 1_000:.1f} Gbit/s"
    return f"{figure:.0f} Mbit/s" if figure >= 10 else f"{figure:.2g} Mbit/s"


def gib(size: float) -> str:
    """An amount of memory in MiB or GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


TABLES: Final[dict[str, Callable[[Calibration], str]]] = {
    "measured": measured,
    "costs": costs,
    "check": check,
    "one process": one_process,
    "own tasks": own_tasks,
    "one task": one_task,
    "whole site": whole_site,
    "limits": limits,
}
