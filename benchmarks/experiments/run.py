"""Runs the experiments, round after round, and yields the results.

Within a round the servers take turns, so that other load on the machine disturbs all of them alike. Ratios are
between figures of one round.
"""

import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from benchmarks.experiments.plan import Experiment
from benchmarks.experiments.scenarios import WARM_UP, Figures
from benchmarks.rig.contender import Contender
from benchmarks.rig.running import running


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures of one server in one experiment and round."""

    round: int
    experiment: str
    contender: str
    figures: Figures
    error: str | None = None
    """Why figures are missing; None: all are there."""

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def run_rounds(experiments: Iterable[Experiment], *, rounds: int, measure_s: float) -> Iterable[Result]:
    """Run all experiments `rounds` times. The error of a server is noted in its result, and the run continues."""
    planned = [
        (number, experiment, contender)
        for number in range(rounds)
        for experiment in experiments
        if experiment.runs_in(number, rounds)
        for contender in experiment.contenders
    ]
    for number, experiment, contender in planned:
        began = time.monotonic()
        figures: Figures = {}
        error = _try_to_run(experiment, contender, measure_s, figures)
        took_s = time.monotonic() - began
        print(f"round {number + 1}: {experiment.name}, {contender.name}: {took_s:.0f} s", file=sys.stderr, flush=True)
        yield Result(round=number, experiment=experiment.name, contender=contender.name, figures=figures, error=error)


def _try_to_run(experiment: Experiment, contender: Contender, measure_s: float, figures: Figures) -> str | None:
    try:
        run(experiment, contender, measure_s, figures)
    except Exception as error:
        # Of any kind: the other servers' figures are still useful.
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def run(experiment: Experiment, contender: Contender, measure_s: float, figures: Figures) -> None:
    """Take one server through the experiment's scenarios; adds each scenario's figures to `figures`."""
    with running(contender, followers=experiment.followers + WARM_UP, topics=experiment.topics) as server:
        for scenario in experiment.scenarios:
            figures |= scenario(server, measure_s)
