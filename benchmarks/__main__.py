"""What the live server costs, next to its peers, in one run.

    python -m benchmarks [--quick] [--rounds N] [--only WORD …]

Plan, run, results: picks the experiments of the plan, runs them in rounds, writes a record to var/bench/ and prints
its table. Needs Linux, two cores, redis-server, a C compiler and `.venv-bench` (`make bench` creates it). Takes about
20 minutes; 6 with --quick.
"""

import argparse
import sys

from benchmarks.experiments import plan
from benchmarks.experiments.run import run_rounds
from benchmarks.results import record, table
from benchmarks.rig import machine
from benchmarks.rig.paths import RECORDS

ROUNDS, MEASURE_S = 5, 3.0
QUICK_ROUNDS, QUICK_MEASURE_S = 2, 1.5


def main() -> None:
    """Measure, unless another run measures already."""
    options = parse_options()
    try:
        with machine.exclusive(RECORDS / "lock"):
            measure(options)
    except BlockingIOError:
        sys.exit("Another run is measuring on this machine: wait for its end.")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="experiments whose names contain a word")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> None:
    """Run the experiments, write the record, print the table."""
    machine.raise_limits()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    measure_s = QUICK_MEASURE_S if options.quick else MEASURE_S

    experiments = plan.experiments(options.only)
    results = list(run_rounds(experiments, rounds=rounds, measure_s=measure_s))
    path = record.write(results, is_quick=options.quick, is_complete=len(experiments) == len(plan.EXPERIMENTS))

    print(table.plain_table(record.read(path)))
    print(f"The record is {path}.")


if __name__ == "__main__":
    main()
