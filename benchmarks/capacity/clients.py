"""Clients that connect, and retry: as our client in the browser does, or as the rig's, which only waits.

Follows `backoff.js`, `fallback.js` and `connector.js` of `static/telltale/live/`. Of a process it knows its `Admission`
only.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Final

from benchmarks.capacity.admission import Admission
from benchmarks.capacity.constants import ATTEMPTS_BEFORE_FALLBACK, GREETING_TIMEOUT_S, SYN_RETRY_S, backoff_s
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.simulation import Callback, Core, SimulationClock

STEPS: Final = 4
"""Connect, send the request, send the ticket, read the greeting: equal costs on the rig's core."""


@dataclass(slots=True)
class Clients:
    """All clients of one process."""

    clock: SimulationClock
    admission: Admission
    chance: random.Random
    core: Core | None = None
    """The core on which all of them run, as in the rig; None: each has its own machine, which costs nothing here."""
    step_us: float = 0.0
    timeout_s: float = GREETING_TIMEOUT_S
    rows: int = 0
    """Tasks of each client's topic in the database."""
    has_one_topic: bool = False
    """Whether all of them follow the same topic."""
    connected_at_s: list[float] = field(default_factory=list)
    """When each client was greeted."""
    failures: int = 0
    """Attempts that were refused or had no greeting in time."""
    fallbacks: int = 0
    """Clients that failed so often in a row that they changed to another transport."""
    count: int = 0
    """Clients that were added."""

    def add(self, at_s: float) -> None:
        """Add a client that connects at that instant."""
        self.count += 1
        self.clock.call_at(at_s, Client(self, 0 if self.has_one_topic else self.count).connect)

    def step(self, then: Callback) -> None:
        """Run one step of a client."""
        if self.core is None:
            then()
        else:
            self.core.run_for(self.step_us / 1e6, then)


class Client:
    """One client through all its attempts."""

    __slots__ = ("_attempts", "_clients", "topic")

    def __init__(self, clients: Clients, topic: int) -> None:
        self._clients, self.topic = clients, topic
        self._attempts = 0

    def connect(self) -> None:
        """Start an attempt; further ones follow until one succeeds."""
        Attempt(self._clients, self)

    def failed(self) -> None:
        """Schedule the next attempt."""
        clients = self._clients
        self._attempts += 1
        clients.failures += 1
        clients.fallbacks += self._attempts == ATTEMPTS_BEFORE_FALLBACK
        # The client counts the loss of its earlier connection as the first failure.
        clients.clock.call_later(backoff_s(self._attempts + 1, clients.chance.random()), self.connect)


class Attempt:
    """One attempt of a client to connect. Satisfies `admission.Connection`."""

    __slots__ = ("_awaited", "_client", "_clients", "_is_over", "rows", "topic")

    def __init__(self, clients: Clients, client: Client) -> None:
        self.topic, self.rows = client.topic, clients.rows
        self._clients, self._client = clients, client
        self._awaited = 2
        self._is_over = False
        if clients.timeout_s < math.inf:
            clients.clock.call_later(clients.timeout_s, self._give_up)
        clients.step(lambda: self._send_syn(SYN_RETRY_S))

    def accepted(self) -> None:
        """The process has accepted the connection, or the client has sent its request: the second of both continues."""
        self._awaited -= 1
        if self._awaited == 0:
            self._clients.admission.upgrade(self._upgraded)

    def greeted(self) -> None:
        """See the contract."""
        self._clients.step(self._connected)

    def _send_syn(self, retry_s: float) -> None:
        if self._is_over:
            return
        if self._clients.admission.is_refusing:
            self._give_up()
        elif self._clients.admission.connect(self):
            # The kernel has answered for the process: the request waits there until the process accepts.
            self._clients.step(self.accepted)
        else:
            self._clients.clock.call_later(retry_s, lambda: self._send_syn(2 * retry_s))

    def _upgraded(self) -> None:
        if not self._is_over:
            self._clients.step(lambda: self._clients.admission.admit(self))

    def _connected(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._clients.connected_at_s.append(self._clients.clock.now_s)

    def _give_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._client.failed()


def rig_clients(clock: SimulationClock, costs: Costs, admission: Admission, chance: random.Random) -> Clients:
    """The load generator's followers: on one core, without a timeout."""
    step_us = costs.load_join_us / STEPS
    return Clients(clock, admission, chance, Core(clock), step_us, math.inf, has_one_topic=True)
