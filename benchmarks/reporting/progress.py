"""What `telltale.progress` costs a loop: nanoseconds of CPU time per turn, next to a bare loop and tqdm.

    python -m benchmarks.reporting.progress

All variants run in turns in one process, so that other load on the machine disturbs all of them alike. CPU time does
not include waiting for the core, but all turns take longer where others share it. A thread reads the tracker ten
times a second meanwhile, as the reporter does.
"""

import io
import json
import statistics
import threading
import time
from collections.abc import Callable

from tqdm import tqdm

import telltale
from benchmarks.rig.paths import RECORDS
from telltale.worker.current import tracking
from telltale.worker.tracker import Tracker

TURNS = 1_000_000
REPEATS = 9
RECORD = RECORDS / "progress.json"

# The targets.
MAX_ADDED_NS = 30
MAX_OF_TQDM = 0.3
MAX_OF_PLAIN = 2.0


class Plain:
    """An object with a plain attribute, to compare with a tracker."""

    current = 0


def bare_loop() -> None:
    """A loop over an iterator."""
    for _ in iter(range(TURNS)):
        pass


def with_telltale() -> None:
    """The same loop, with Telltale's progress."""
    for _ in telltale.progress(iter(range(TURNS)), total=TURNS):
        pass


def with_tqdm() -> None:
    """The same loop with tqdm's defaults; its bar is written to memory."""
    for _ in tqdm(iter(range(TURNS)), total=TURNS, file=io.StringIO()):
        pass


def plain_attribute() -> None:
    """Increment a plain attribute."""
    plain = Plain()
    for _ in iter(range(TURNS)):
        plain.current += 1


def tracker_attribute() -> None:
    """Increment a tracker's attribute."""
    tracker = telltale.current()
    for _ in iter(range(TURNS)):
        tracker.current += 1


BARE, TELLTALE, TQDM, PLAIN, TRACKER = (
    "bare loop",
    "telltale.progress",
    "tqdm",
    "plain attribute += 1",
    "tracker.current += 1",
)
LOOPS: dict[str, Callable[[], None]] = {
    BARE: bare_loop,
    TELLTALE: with_telltale,
    TQDM: with_tqdm,
    PLAIN: plain_attribute,
    TRACKER: tracker_attribute,
}


def measure() -> dict[str, list[float]]:
    """Nanoseconds per turn of each loop, one figure per repeat."""
    figures: dict[str, list[float]] = {name: [] for name in LOOPS}
    for _ in range(REPEATS):
        for name, run in LOOPS.items():
            began = time.thread_time_ns()
            run()
            figures[name].append((time.thread_time_ns() - began) / TURNS)
    return figures


def measure_with_reporter() -> dict[str, list[float]]:
    """Measure while a thread reads the tracker."""
    tracker, stop = Tracker(), threading.Event()

    def sample() -> None:
        while not stop.wait(0.1):
            tracker.sample()

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        with tracking(tracker):
            return measure()
    finally:
        stop.set()
        thread.join()


def verdict(figure: float, at_most: float) -> str:
    """Whether the target is met; on a busy machine it sometimes is not."""
    return f"{'met' if figure <= at_most else 'NOT MET'} (at most {at_most:g})"


def main() -> None:
    """Measure, print the table, write the record."""
    figures = measure_with_reporter()
    median = {name: statistics.median(repeats) for name, repeats in figures.items()}
    added_ns = median[TELLTALE] - median[BARE]
    of_tqdm = added_ns / (median[TQDM] - median[BARE])
    of_plain = median[TRACKER] / median[PLAIN]

    print(f"{'ns per turn':<24}{'min':>8}{'median':>8}{'max':>8}{'added':>8}")
    for name, repeats in figures.items():
        added = median[name] - median[BARE]
        print(f"{name:<24}{min(repeats):>8.1f}{median[name]:>8.1f}{max(repeats):>8.1f}{added:>+8.1f}")
    print(f"{TELLTALE} adds {added_ns:.1f} ns per turn: {verdict(added_ns, MAX_ADDED_NS)}")
    print(f"{TELLTALE} adds {of_tqdm:.2f} of what tqdm adds: {verdict(of_tqdm, MAX_OF_TQDM)}")
    print(f"{TRACKER} takes {of_plain:.2f} of a plain attribute: {verdict(of_plain, MAX_OF_PLAIN)}")

    ratios = {"added, of what tqdm adds": of_tqdm, "tracker, of a plain attribute": of_plain}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps({"ns_per_turn": figures, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
