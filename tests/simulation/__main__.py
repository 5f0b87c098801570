"""`python -m tests.simulation N [--seed S]` lives N histories; `--traces` writes the recorded traces anew."""

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.simulation import traces
from tests.simulation.histories import account, first_broken
from tests.simulation.luck import Plan
from tests.simulation.sabotage import Sabotage, Sabotages

CHUNK = 500


def main() -> int:
    """Zero if no promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("histories", nargs="?", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument("--seed", type=int, help="of the first; the others follow it. None: drawn by lot")
    parser.add_argument("--sabotage", choices=[s.name for s in Sabotage], help="take a mechanism away: must go red")
    parser.add_argument("--traces", action="store_true", help="write tests/traces/*.json instead")
    given = parser.parse_args()
    if given.traces:
        for path in traces.write():
            say(f"{path}")
        return 0
    first = random.randrange(2**32) if given.seed is None else given.seed
    sabotage = frozenset({Sabotage[given.sabotage]} if given.sabotage else ())
    say(f"{given.histories:,} histories from seed {first}")
    began = time.monotonic()
    broken = search(first, given.histories, sabotage)
    if broken is not None:
        say(account(broken, sabotage))
        return 1
    say(f"no promise was broken, in {time.monotonic() - began:.0f} s")
    return 0


def search(first: int, histories: int, sabotage: Sabotages) -> Plan | None:
    """The first broken one, sought by all processors."""
    end = first + histories
    chunks = [range(start, min(start + CHUNK, end)) for start in range(first, end, CHUNK)]
    if len(chunks) == 1:
        return first_broken(chunks[0], sabotage)
    with ProcessPoolExecutor() as pool:
        for found in pool.map(first_broken, chunks, repeat(sabotage)):
            if found is not None:
                pool.shutdown(cancel_futures=True)
                return found
    return None


def say(line: str) -> None:
    """To whoever started it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
