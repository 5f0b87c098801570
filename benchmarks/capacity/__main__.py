"""`python -m benchmarks.capacity --check [--keep]` and `--write-docs`.

`--check` calibrates the simulation with 2,000 followers at most, predicts a run with 10,000, makes that run, and
compares; it needs Linux, two cores, redis-server and a C compiler, and takes less than four minutes. It ends with
1 if a prediction is further off than promised. `--keep` keeps the calibration, `--write-docs` makes the tables of
docs/capacity.md from the one that is kept.
"""

import argparse
import sys

from benchmarks.capacity import check, page
from benchmarks.capacity.figures import MOST_ERROR, Figure
from benchmarks.capacity.kept import PATH, Calibration
from benchmarks.report import record
from benchmarks.rig import machine


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="calibrate, predict, measure, compare")
    parser.add_argument("--keep", action="store_true", help=f"with --check: keep the calibration in {PATH.name}")
    parser.add_argument("--write-docs", action="store_true", help="make the tables of docs/capacity.md")
    options = parser.parse_args()
    if not (options.check or options.write_docs) or (options.keep and not options.check):
        parser.error("give --check (and --keep, if you like), or --write-docs, or all of them")
    is_met = checked(keep=options.keep) if options.check else True
    if options.write_docs:
        page.PAGE.write_text(page.written(page.PAGE.read_text(), Calibration.read()))
    sys.exit(not is_met)


def checked(*, keep: bool) -> bool:
    """Whether every prediction came close enough."""
    machine.raise_limits()
    try:
        with machine.alone(record.HOME / "lock"):
            costs, figures = check.check()
    except BlockingIOError:
        sys.exit("Another run measures on this machine's cores: wait for its end.")
    show(figures)
    if keep:
        Calibration.of(costs, figures).write()
    return all(figure.is_met for figure in figures)


def show(figures: list[Figure]) -> None:
    """The comparison."""
    print(f"{'':<64}{'predicted':>12}{'measured':>12}{'least – most':>20}{'error':>8}")
    for figure in figures:
        predicted, middle = (f"{each:.3g} {figure.unit}" for each in (figure.predicted, figure.middle))
        verdict = "" if figure.is_met else f"  MISSED (at most {MOST_ERROR:.0%})"
        print(f"{figure.name:<64}{predicted:>12}{middle:>12}{figure.spread:>20}{figure.error:>+8.0%}{verdict}")
    print("The prediction holds." if all(figure.is_met for figure in figures) else "The prediction does not hold.")


if __name__ == "__main__":
    main()
