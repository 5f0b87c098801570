"""Those who come to a process, and come again: as our client in the browser does, or as the rig's, which only waits.

Follows `static/telltale/live/backoff.js`, `ladder.js` and `live.js`. Knows of a process only its door.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Final

from benchmarks.capacity.clock import Act, Clock, Core
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.door import Door
from benchmarks.capacity.rules import PATIENCE, PROOF_S, SYN_RETRY_S, backoff_s

STEPS: Final = 4
"""To connect, to ask, to show a ticket, to read the greeting: alike in what they cost the rig's core."""


@dataclass(slots=True)
class Crowd:
    """What they have in common."""

    clock: Clock
    door: Door
    chance: random.Random
    core: Core | None = None
    """Where all of them run, as in the rig; None: each on a machine of their own, which costs us nothing."""
    step_us: float = 0.0
    patience_s: float = PROOF_S
    rows: int = 0
    """Of each client's topic, in the database."""
    has_one_topic: bool = False
    """For all of them."""
    back_at_s: list[float] = field(default_factory=list)
    """When each of those who are back was greeted."""
    given_up: int = 0
    """Tries that were ended for want of a greeting, or refused."""
    stepped_down: int = 0
    """Clients that have failed so often in a row that they go on with another transport."""

    count: int = 0
    """Of those who have been planned."""

    def comes(self, at_s: float) -> None:
        """One more does, at that instant."""
        self.count += 1
        self.clock.at(at_s, Client(self, 0 if self.has_one_topic else self.count).come)

    def step(self, then: Act) -> None:
        """One of a client's steps."""
        if self.core is None:
            then()
        else:
            self.core.spend(self.step_us / 1e6, then)


class Client:
    """One of them, through all its tries."""

    __slots__ = ("_crowd", "_tries", "topic")

    def __init__(self, crowd: Crowd, topic: int) -> None:
        self._crowd, self.topic = crowd, topic
        self._tries = 0

    def come(self) -> None:
        """Try; it is tried again until it works."""
        Try(self._crowd, self)

    def fail(self) -> None:
        """A try brought nothing."""
        crowd = self._crowd
        self._tries += 1
        crowd.given_up += 1
        crowd.stepped_down += self._tries == PATIENCE
        # The end of the line before was the first of its failures.
        crowd.clock.after(backoff_s(self._tries + 1, crowd.chance.random()), self.come)


class Try:
    """One try of one of them. Satisfies `door.Caller`."""

    __slots__ = ("_awaited", "_client", "_crowd", "_is_over", "rows", "topic")

    def __init__(self, crowd: Crowd, client: Client) -> None:
        self.topic, self.rows = client.topic, crowd.rows
        self._crowd, self._client = crowd, client
        self._awaited = 2
        self._is_over = False
        if crowd.patience_s < math.inf:
            crowd.clock.after(crowd.patience_s, self._give_up)
        crowd.step(lambda: self._knock(SYN_RETRY_S))

    def accepted(self) -> None:
        """See the contract."""
        self._awaited -= 1
        if self._awaited == 0:
            self._crowd.door.upgrade(self, self._upgraded)

    def greeted(self) -> None:
        """See the contract."""
        self._crowd.step(self._be_back)

    def _knock(self, retry_s: float) -> None:
        if self._is_over:
            return
        if self._crowd.door.is_refusing:
            self._give_up()
        elif self._crowd.door.knock(self):
            # The kernel has answered for the process: what is asked waits there until it is accepted.
            self._crowd.step(self.accepted)
        else:
            self._crowd.clock.after(retry_s, lambda: self._knock(2 * retry_s))

    def _upgraded(self) -> None:
        if not self._is_over:
            self._crowd.step(lambda: self._crowd.door.admit(self))

    def _be_back(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._crowd.back_at_s.append(self._crowd.clock.now_s)

    def _give_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._client.fail()


def rig(clock: Clock, costs: Costs, door: Door, chance: random.Random) -> Crowd:
    """Those of benchmarks/rig/native/: on one core, and patient."""
    step_us = costs.load_join_us / STEPS
    return Crowd(clock, door, chance, Core(clock), step_us, math.inf, has_one_topic=True)
