"""What reporting costs a loop: nanoseconds of CPU a turn, beside a bare loop and tqdm, in one run of one process.

    python -m benchmarks.reporting.progress

The kinds take turns, so that a busy machine is busy for all of them, and time in which the thread does not run
counts for none: still, all take longer where others share the core. A sampling thread looks at the tracker
ten times a second meanwhile, as the reporter does.
"""

import io
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

import telltale
from telltale.worker.tracker import Tracker, tracking

TURNS = 1_000_000
REPEATS = 9
RECORD = Path("var/bench/progress.json")

MOST_ADDED_NS = 25
MOST_OF_TQDM = 0.5
MOST_OF_PLAIN = 2.0


class Plain:
    """An object with one attribute, to compare a tracker's with."""

    current = 0


def bare() -> None:
    """A loop over an iterator of any kind."""
    for _ in iter(range(TURNS)):
        pass


def counted() -> None:
    """The same, counted by Telltale."""
    for _ in telltale.progress(iter(range(TURNS)), total=TURNS):
        pass


def barred() -> None:
    """The same, counted by tqdm with its defaults, its bar drawn to nowhere."""
    for _ in tqdm(iter(range(TURNS)), total=TURNS, file=io.StringIO()):
        pass


def stored() -> None:
    """A plain attribute is counted up."""
    plain = Plain()
    for _ in iter(range(TURNS)):
        plain.current += 1


def tracked() -> None:
    """A tracker's is."""
    tracker = telltale.current()
    for _ in iter(range(TURNS)):
        tracker.current += 1


KINDS: dict[str, Callable[[], None]] = {
    "bare loop": bare,
    "telltale.progress": counted,
    "tqdm": barred,
    "plain attribute += 1": stored,
    "tracker.current += 1": tracked,
}


def measured() -> dict[str, list[float]]:
    """Nanoseconds a turn of each kind, one figure a repeat."""
    figures: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(REPEATS):
        for name, run in KINDS.items():
            began = time.thread_time_ns()
            run()
            figures[name].append((time.thread_time_ns() - began) / TURNS)
    return figures


def verdict(figure: float, most: float) -> str:
    """Whether an aim is met; where other work shares the machine it now and then is not."""
    return f"{'as aimed' if figure <= most else 'MISSED'} (at most {most:g})"


def main() -> None:
    """Measure, print the table, keep the record."""
    tracker, over = Tracker(), threading.Event()

    def sample() -> None:
        while not over.wait(0.1):
            tracker.sample()

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        with tracking(tracker):
            figures = measured()
    finally:
        over.set()
        thread.join()
    typical = {name: statistics.median(each) for name, each in figures.items()}
    added = typical["telltale.progress"] - typical["bare loop"]
    of_tqdm = added / (typical["tqdm"] - typical["bare loop"])
    of_plain = typical["tracker.current += 1"] / typical["plain attribute += 1"]
    ratios = {
        "telltale.progress adds, of what tqdm adds": of_tqdm,
        "tracker.current += 1, of a plain attribute's": of_plain,
    }
    print(f"{'ns a turn':<24}{'min':>8}{'median':>8}{'max':>8}{'added':>8}")
    for name, each in figures.items():
        more = typical[name] - typical["bare loop"]
        print(f"{name:<24}{min(each):>8.1f}{typical[name]:>8.1f}{max(each):>8.1f}{more:>+8.1f}")
    print(f"telltale.progress adds, ns a turn: {added:.1f}, {verdict(added, MOST_ADDED_NS)}")
    for (name, ratio), most in zip(ratios.items(), (MOST_OF_TQDM, MOST_OF_PLAIN), strict=True):
        print(f"{name}: {ratio:.2f}, {verdict(ratio, most)}")
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps({"ns_a_turn": figures, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
