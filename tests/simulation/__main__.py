"""`python -m tests.simulation N [--seed S]` runs N histories; `--traces` writes the recorded traces again."""

import argparse
import gc
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.simulation import traces
from tests.simulation.histories import first_broken, report
from tests.simulation.rng import Plan
from tests.simulation.sabotage import Sabotage, Sabotages

CHUNK = 500


def main() -> int:
    """Return 0 if no promise was broken, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("histories", nargs="?", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument(
        "--seed", type=int, help="of the first history; the others have the next numbers. Default: random"
    )
    parser.add_argument(
        "--sabotage", choices=[s.name for s in Sabotage], help="remove a mechanism: a promise must then be broken"
    )
    parser.add_argument("--traces", action="store_true", help="write tests/traces/*.json instead")
    options = parser.parse_args()
    if options.traces:
        for path in traces.write():
            say(f"{path}")
        return 0
    first = random.randrange(2**32) if options.seed is None else options.seed
    sabotage = frozenset({Sabotage[options.sabotage]} if options.sabotage else ())
    say(f"{options.histories:,} histories from seed {first}")
    began_at = time.monotonic()
    broken = search(first, options.histories, sabotage)
    if broken is not None:
        say(report(broken, sabotage))
        return 1
    took_s = time.monotonic() - began_at
    say(f"no promise was broken in {options.histories:,} histories from seed {first}, in {took_s:.0f} s")
    return 0


def search(first: int, histories: int, sabotage: Sabotages) -> Plan | None:
    """Return the first history that breaks a promise, searching on all processors."""
    end = first + histories
    chunks = [range(start, min(start + CHUNK, end)) for start in range(first, end, CHUNK)]
    if len(chunks) == 1:
        return first_broken(chunks[0], sabotage)
    # A world is full of cycles, and small: it is cheaper to collect them seldom.
    with ProcessPoolExecutor(initializer=gc.set_threshold, initargs=(100_000, 20, 20)) as pool:
        for found in pool.map(first_broken, chunks, repeat(sabotage)):
            if found is not None:
                pool.shutdown(cancel_futures=True)
                return found
    return None


def say(line: str) -> None:
    """Write `line` to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
