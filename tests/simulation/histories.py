"""Histories by their seeds: run one, shorten one that broke a promise, and report it."""

from collections import Counter
from collections.abc import Callable, Iterable

from tests.simulation.ledger import Broken
from tests.simulation.rng import Plan, Rng, plan
from tests.simulation.sabotage import NONE, Sabotages
from tests.simulation.world import WEIGHTS, World


def history(seed: int) -> Plan:
    """Return the history of `seed`."""
    return plan(seed, WEIGHTS)


def run(history: Plan, sabotage: Sabotages = NONE, log: Callable[[str], None] | None = None) -> World:
    """Run the history to its end; raise `Broken` if it breaks a promise."""
    world = World(Rng(history.healing_seed), sabotage, log)
    world.run(history)
    return world


def broken_by(history: Plan, sabotage: Sabotages = NONE) -> Broken | None:
    """Return how the history breaks a promise; None if it breaks none."""
    try:
        run(history, sabotage)
    except Broken as broken:
        return broken
    return None


def first_broken(seeds: Iterable[int], sabotage: Sabotages = NONE) -> Plan | None:
    """Return the first history of these seeds that breaks a promise."""
    return next((plan for plan in map(history, seeds) if broken_by(plan, sabotage)), None)


def shortened(history: Plan, sabotage: Sabotages = NONE) -> Plan:
    """Return a history with as few steps as possible that still breaks a promise, perhaps another one."""
    size = len(history.steps) // 2
    while size:
        start = 0
        while start < len(history.steps):
            shorter = history._replace(steps=history.steps[:start] + history.steps[start + size :])
            if broken_by(shorter, sabotage):
                history = shorter
            else:
                start += size
        size //= 2
    return history


def report(history: Plan, sabotage: Sabotages = NONE) -> str:
    """Return what a person needs to find the fault: the seed, the promise, and the shortest history found."""
    whole, short = broken_by(history, sabotage), shortened(history, sabotage)
    lines = [f"seed {history.seed}: {whole}", f"shortened from {len(history.steps)} steps to {len(short.steps)}:"]
    try:
        run(short, sabotage, lines.append)
    except Broken as broken:
        lines.append(f"{broken}")
    lines.append(f"Again: python -m tests.simulation 1 --seed {history.seed}")
    return "\n".join(lines)


def count_events(seeds: Iterable[int]) -> Counter[str]:
    """Count the events in histories that break no promise."""
    return sum((run(history(seed)).ledger.events for seed in seeds), Counter())
