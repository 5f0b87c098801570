"""Runs for which the time left is judged: simulated ones of known kinds, and recorded ones. Seeds are fixed.

The recorded runs are those of the gallery: when a real loop on a busy machine had finished how many items.
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import telltale
from telltale.core.estimate import DurationHistory

SEEDS: Final = range(8)
EARLIER_SEEDS: Final = range(100, 112)
RECORDED: Final = Path(telltale.__file__).parent / "pages" / "gallery" / "recorded_runs.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run from its start (0 s) to its end, which is the instant of the last point."""

    kind: str
    points: tuple[tuple[float, float], ...]
    """(instant in seconds, fraction done from then on), ascending."""
    causes: int = 0
    """How many changes of the pace there are that nothing before them announces."""

    @property
    def end_s(self) -> float:
        return self.points[-1][0]


def of_items(kind: str, durations_s: Iterable[float], causes: int = 0) -> Run:
    """A run of items of the same weight that took `durations_s`."""
    instants = list(accumulate(durations_s))
    return Run(kind=kind, points=tuple((at, (n + 1) / len(instants)) for n, at in enumerate(instants)), causes=causes)


def even(random_: random.Random) -> Run:
    """Fast items, half a minute to half an hour in all."""
    total_s = random_.choice([30, 60, 120, 300, 1_800])
    count = random_.randint(200, 1_500)
    return of_items("even", [total_s / count * random_.uniform(0.9, 1.1) for _ in range(count)])


def slow_items(random_: random.Random) -> Run:
    """Items of 20 to 60 s, which differ little from each other."""
    usual_s = random_.uniform(20, 60)
    return of_items("slow items", [usual_s * random_.uniform(0.9, 1.1) for _ in range(random_.randint(20, 40))])


def jitter(random_: random.Random) -> Run:
    """Items of about a second; one in ten takes three times as long as the median."""
    return of_items("jitter", [random_.lognormvariate(-0.3, 0.85) for _ in range(random_.randint(150, 400))])


def slow_jitter(random_: random.Random) -> Run:
    """Items of about 10 s; some take a third of that, others three times as long."""
    return of_items("slow jitter", [random_.lognormvariate(2.1, 0.6) for _ in range(random_.randint(40, 80))])


def bursts(random_: random.Random) -> Run:
    """Ten seconds of fast items, then ten seconds of nothing. Nothing announces the first pause."""
    durations_s = []
    for _ in range(random_.randint(10, 20)):
        durations_s += [random_.uniform(9, 11), *(random_.uniform(0.09, 0.11) for _ in range(99))]
    return of_items("bursts", durations_s[1:], causes=1)


def wrong_weights(random_: random.Random) -> Run:
    """Stages whose weights are the same, and whose durations are not."""
    stages_s = random_.choice([(100, 180), (180, 100), (60, 100, 80), (120, 70, 110)])
    durations_s = [stage_s / 300 * random_.uniform(0.7, 1.3) for stage_s in stages_s for _ in range(300)]
    return of_items("wrong weights", durations_s, causes=len(stages_s) - 1)


def badly_wrong_weights(random_: random.Random) -> Run:
    """The second half takes four times as long as the first, or the first four times as long as the second."""
    stages_s = random_.choice([(60, 240), (240, 60)])
    durations_s = [stage_s / 300 * random_.uniform(0.7, 1.3) for stage_s in stages_s for _ in range(300)]
    return of_items("badly wrong weights", durations_s, causes=1)


def stalls(random_: random.Random) -> Run:
    """An even pace with one or two stops of 20 to 40 s."""
    durations_s = [0.5 * random_.uniform(0.8, 1.2) for _ in range(random_.randint(600, 900))]
    count = random_.randint(1, 2)
    for position in random_.sample(range(len(durations_s) // 5, len(durations_s) * 7 // 10), count):
        durations_s[position] += random_.uniform(20, 40)
    return of_items("stalls", durations_s, causes=count)


def slowing_down(random_: random.Random) -> Run:
    """The last item takes two to three times as long as the first, as where each looks through all before it."""
    factor, count = random_.uniform(2, 3), random_.randint(300, 900)
    durations_s = [0.2 * (1 + (factor - 1) * n / count) * random_.uniform(0.7, 1.3) for n in range(count)]
    return of_items("slowing down", durations_s)


SIMULATED: Final = (
    even,
    slow_items,
    jitter,
    slow_jitter,
    bursts,
    wrong_weights,
    badly_wrong_weights,
    stalls,
    slowing_down,
)


def simulated_runs() -> dict[str, list[Run]]:
    """The simulated runs by kind."""
    runs = [simulate(random.Random(f"{simulate.__name__} {seed}")) for simulate in SIMULATED for seed in SEEDS]
    return {kind: [run for run in runs if run.kind == kind] for kind in dict.fromkeys(run.kind for run in runs)}


def usual_duration_s(kind: str) -> tuple[float, float] | None:
    """How long earlier runs of the kind took, which are not among those that are judged: as the store knows it."""
    [simulate] = [simulate for simulate in SIMULATED if simulate.__name__.replace("_", " ") == kind]
    history = DurationHistory()
    for seed in EARLIER_SEEDS:
        history = history.add(simulate(random.Random(f"{simulate.__name__} {seed}")).end_s)
    return history.usual_s


def recorded_runs() -> list[Run]:
    """The recorded runs, each of its own kind."""
    return [
        Run(kind=record["name"], points=tuple((at, done / record["total"]) for at, done in record["points"]))
        for record in json.loads(RECORDED.read_text(encoding="utf-8"))
    ]
