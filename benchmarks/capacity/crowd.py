"""Those who come to a process, and come again: as our client in the browser does, or as the rig's, which only waits.

Follows `static/telltale/backoff.js`, `ladder.js` and `live.js`. Knows of a process only how to come in.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Final

from benchmarks.capacity.clock import Act, Clock, Core
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.process import Caller, Process
from benchmarks.capacity.rules import PATIENCE, PROOF_S, SYN_RETRY_S, backoff_s

STEPS: Final = 4
"""To connect, to ask, to show a ticket, to read the greeting: alike in what they cost the rig's core."""


@dataclass(slots=True)
class Crowd:
    """What they have in common."""

    clock: Clock
    process: Process
    chance: random.Random
    core: Core | None = None
    """Where all of them run, as in the rig; None: each on a machine of their own, which costs us nothing."""
    step_us: float = 0.0
    patience_s: float = PROOF_S
    topics: int = 1
    rows: int = 0
    back_at_s: list[float] = field(default_factory=list)
    """When each of those who are back was greeted."""
    given_up: int = 0
    """Tries that were ended for want of a greeting, or refused."""
    stepped_down: int = 0
    """Clients that have failed so often in a row that they go on with another transport."""

    def comes(self, at_s: float) -> None:
        """One more does, at that instant."""
        self.clock.at(at_s, Client(self).come)

    def step(self, then: Act) -> None:
        """One of a client's steps."""
        if self.core is None:
            then()
        else:
            self.core.spend(self.step_us / 1e6, then)


class Client:
    """One of them."""

    __slots__ = ("_awaited", "_caller", "_crowd", "_tries")

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._tries = 0
        self._caller: Caller
        self._awaited = 0

    def come(self) -> None:
        """Try once; tries again by itself."""
        crowd = self._crowd
        caller = self._caller = Caller(self._when_both, self._greeted, crowd.topics, crowd.rows)
        self._awaited = 2
        if crowd.patience_s < math.inf:
            crowd.clock.after(crowd.patience_s, lambda: self._lose_patience(caller))
        crowd.step(lambda: self._knock(caller, SYN_RETRY_S))

    def _knock(self, caller: Caller, retry_s: float) -> None:
        if caller.has_gone:
            return
        if self._crowd.process.is_refusing:
            self._fail(caller)
        elif self._crowd.process.knock(caller):
            # The kernel has answered for the process: what is asked waits there until it is accepted.
            self._crowd.step(self._when_both)
        else:
            self._crowd.clock.after(retry_s, lambda: self._knock(caller, 2 * retry_s))

    def _when_both(self) -> None:
        """It has asked, and it was accepted: whichever is second."""
        self._awaited -= 1
        if self._awaited == 0:
            caller, process = self._caller, self._crowd.process
            process.upgrade(caller, lambda: self._crowd.step(lambda: process.admit(caller)))

    def _greeted(self) -> None:
        self._crowd.step(self._be_back)

    def _be_back(self) -> None:
        if not self._caller.has_gone:
            # So that its patience no longer matters.
            self._tries = -1
            self._crowd.back_at_s.append(self._crowd.clock.now_s)

    def _lose_patience(self, caller: Caller) -> None:
        if self._tries >= 0 and not caller.has_gone:
            self._fail(caller)

    def _fail(self, caller: Caller) -> None:
        caller.has_gone = True
        crowd = self._crowd
        crowd.given_up += 1
        self._tries += 1
        if self._tries == PATIENCE:
            crowd.stepped_down += 1
        # The end of the line before was the first of its tries.
        crowd.clock.after(backoff_s(self._tries + 1, crowd.chance.random()), self.come)


def rig(clock: Clock, costs: Costs, process: Process, chance: random.Random) -> Crowd:
    """Those of benchmarks/native/: on one core, and patient."""
    return Crowd(clock, process, chance, Core(clock), costs.load_join_us / STEPS, math.inf)
