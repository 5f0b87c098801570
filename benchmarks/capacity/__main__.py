"""Checks the simulation of capacity on this machine, and makes the tables of docs/capacity.md.

    python -m benchmarks.capacity --check [--keep]
    python -m benchmarks.capacity --write-docs

`--check` calibrates the simulation with 2,000 followers at most, predicts a run with 10,000, makes that run and
compares. It needs Linux, two cores, redis-server and a C compiler, and takes less than four minutes. It exits with 1
if the error of a prediction is too large. `--keep` stores the calibration; `--write-docs` makes the tables from the
stored one.
"""

import argparse
import sys

from benchmarks.capacity import check, page
from benchmarks.capacity.calibration import PATH, Calibration
from benchmarks.capacity.predictions import MAX_ERROR, Prediction
from benchmarks.rig import machine
from benchmarks.rig.paths import RECORDS


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="calibrate, predict, measure, compare")
    parser.add_argument("--keep", action="store_true", help=f"with --check: store the calibration in {PATH.name}")
    parser.add_argument("--write-docs", action="store_true", help="make the tables of docs/capacity.md")
    options = parser.parse_args()
    if not (options.check or options.write_docs) or (options.keep and not options.check):
        parser.error("give --check (and --keep, if you like), or --write-docs, or all of them")
    is_met = run_check(keep=options.keep) if options.check else True
    if options.write_docs:
        page.PAGE.write_text(page.with_tables(page.PAGE.read_text(), Calibration.read()))
    sys.exit(not is_met)


def run_check(*, keep: bool) -> bool:
    """Whether every prediction is close enough."""
    machine.raise_limits()
    try:
        with machine.exclusive(RECORDS / "lock"):
            costs, predictions = check.check()
    except BlockingIOError:
        sys.exit("Another run is measuring on this machine: wait for its end.")
    show(predictions)
    if keep:
        Calibration.of(costs, predictions).write()
    return all(prediction.is_met for prediction in predictions)


def show(predictions: list[Prediction]) -> None:
    """Print the comparison."""
    print(f"{'':<64}{'predicted':>12}{'measured':>12}{'min – max':>20}{'error':>8}")
    for prediction in predictions:
        predicted, median = (f"{figure:.3g} {prediction.unit}" for figure in (prediction.predicted, prediction.median))
        verdict = "" if prediction.is_met else f"  NOT MET (at most {MAX_ERROR:.0%})"
        figures = f"{predicted:>12}{median:>12}{prediction.spread:>20}{prediction.error:>+8.0%}"
        print(f"{prediction.name:<64}{figures}{verdict}")
    are_met = all(prediction.is_met for prediction in predictions)
    print("All predictions are close enough." if are_met else "Some predictions are not close enough.")


if __name__ == "__main__":
    main()
