"""What the live server costs, beside its peers, in one run: `python -m benchmarks [--quick] [--only WORD …]`.

Needs `.venv-bench` (see `make bench`), redis-server, a C compiler and two cores. Prints the table, and keeps the
record in var/bench/. Takes some 20 minutes, or 6 with --quick; `--only` runs the visits whose names hold the word.
"""

import argparse
import sys

from benchmarks.report import record, table
from benchmarks.rig import machine
from benchmarks.visits import run
from benchmarks.visits.plan import VISITS

ROUNDS, SECONDS = 5, 3.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 1.5


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help=f"instead of {ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="visits whose names hold a word")
    options = parser.parse_args()
    try:
        with machine.alone(record.HOME / "lock"):
            measure(options)
    except BlockingIOError:
        sys.exit("Another run measures on this machine's cores: wait for its end.")


def measure(options: argparse.Namespace) -> None:
    """All that was asked for."""
    machine.raise_limits()
    visits = [visit for visit in VISITS if any(word in visit.name for word in options.only)]
    count = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    readings = list(run.rounds(visits, count=count, seconds=QUICK_SECONDS if options.quick else SECONDS))
    path = record.write(readings, quick=options.quick, is_whole=len(visits) == len(VISITS))
    print(table.plain(record.read(path)))
    print(f"Kept in {path}.")


if __name__ == "__main__":
    main()
