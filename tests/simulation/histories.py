"""Histories by their seeds: live one, shrink one that broke a promise, and give an account of it."""

from collections import Counter
from collections.abc import Callable, Iterable

from tests.simulation.ledger import Broken
from tests.simulation.luck import Luck, Plan, plan
from tests.simulation.sabotage import NONE, Sabotages
from tests.simulation.world import WEIGHTS, World


def history(seed: int) -> Plan:
    """The history that `seed` stands for."""
    return plan(seed, WEIGHTS)


def live(history: Plan, sabotage: Sabotages = NONE, log: Callable[[str], None] | None = None) -> World:
    """Live it to its end; raises `Broken` if it breaks a promise."""
    world = World(Luck(history.luck), sabotage, log)
    world.lives(history)
    return world


def broken_by(history: Plan, sabotage: Sabotages = NONE) -> Broken | None:
    """How it breaks a promise, if it does."""
    try:
        live(history, sabotage)
    except Broken as broken:
        return broken
    return None


def first_broken(seeds: Iterable[int], sabotage: Sabotages = NONE) -> Plan | None:
    """The first history of these seeds that breaks a promise."""
    return next((plan for plan in map(history, seeds) if broken_by(plan, sabotage)), None)


def shrunk(history: Plan, sabotage: Sabotages = NONE) -> Plan:
    """One with as few steps as can be found that still breaks a promise, though perhaps another."""
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


def account(history: Plan, sabotage: Sabotages = NONE) -> str:
    """What a person needs to find the mistake: the seed, the promise, and the shortest history found."""
    whole, short = broken_by(history, sabotage), shrunk(history, sabotage)
    lines = [f"seed {history.seed}: {whole}", f"shrunk from {len(history.steps)} steps to {len(short.steps)}:"]
    try:
        live(short, sabotage, lines.append)
    except Broken as broken:
        lines.append(f"{broken}")
    lines.append(f"Again: python -m tests.simulation 1 --seed {history.seed}")
    return "\n".join(lines)


def what_happens(seeds: Iterable[int]) -> Counter[str]:
    """All that unbroken histories had in them, counted."""
    return sum((live(history(seed)).ledger.happened for seed in seeds), Counter())
