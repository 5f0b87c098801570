"""What one consumer follows: its client of the driver, and the right to each topic, which is checked again and again.

A consumer is a client like a page: the same hub and connection, snapshot first, the newest wins. The difference is
the ticket: a page renews its own, and here the follower checks the rights and makes a ticket from what it finds. So
nothing is delivered for longer than `RIGHTS_S` after a check, also if the database no longer answers.

Everything is on the event loop. Used by `follow.py` alone.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from telltale.channels.follow.inbox import Frame, Inbox, frame_of
from telltale.core import reasons
from telltale.core.outage import Outage
from telltale.core.policy import ConnectionPolicy
from telltale.core.reasons import Reason
from telltale.live import tickets
from telltale.live.client import ConnectedClient
from telltale.live.driver import driver

logger = logging.getLogger(__name__)

RIGHTS_S: Final = 55.0
"""How long a right counts after its check began. With the second in which the driver looks: below a minute."""

RECHECK_S: Final = (25.0, 40.0)
"""The rights are checked again after a random time between these, so that consumers do not check all at once."""

RETRY_CHECK_S: Final = 5.0
"""Time until a check that failed is repeated."""

REOPEN_S: Final = 1.0
"""Time until the connection is opened again, after it was closed because too much was waiting."""

NEVER: Final = float("inf")

POLICY: Final = ConnectionPolicy(credit=None, ping_s=NEVER, slow_s=NEVER)
"""A consumer is in this process: nothing proves that it lives, and a slow one is never cut off."""

FORBIDDEN: Final = reasons.FORBIDDEN.word

Check = Callable[[Collection[str]], Awaitable[frozenset[str]]]
"""Returns those of the topics that may be followed now."""

_outage = Outage(logger, "Checking what consumers may follow", "They get nothing until it works again.")


class Follower:
    """Satisfies `transports.base.Outlet`."""

    form = staticmethod(frame_of)

    def __init__(self, check: Check, wake: Callable[[], None]) -> None:
        """`wake` is called when the inbox has something new."""
        self.inbox = Inbox()
        self.topics: frozenset[str] = frozenset()
        self._check, self._wake = check, wake
        self._client: ConnectedClient | None = None
        self._is_blocked = False
        self._allowed_until = float("-inf")  # Of the monotonic clock.
        self._check_timer: asyncio.TimerHandle | None = None
        self._reopen_timer: asyncio.TimerHandle | None = None
        self._check_task: asyncio.Task[None] | None = None

    # For the consumer ----------------------------------------------------------------------------

    def add(self, topics: Collection[str], *, checked_at: float) -> Reason | None:
        """Follow these topics too; the right to them was checked at `checked_at` (monotonic).

        Return why that is not possible: this process has too many clients, or shuts down.
        """
        if not self.topics:
            self._allowed_until = checked_at + RIGHTS_S
            self._schedule_check(random.uniform(*RECHECK_S))  # noqa: S311 (no secret)
        previous, self.topics = self.topics, self.topics | frozenset(topics)
        refusal = self._show_ticket()
        if refusal is not None:
            self.topics = previous
            if not previous:
                self.close()
        return refusal

    def remove(self, topics: Collection[str]) -> None:
        """Follow these topics no longer; nothing that waits for them is delivered."""
        remaining = self.topics - frozenset(topics)
        if remaining == self.topics:
            return
        self.topics = remaining
        dropped = self.inbox.drop(remaining.__contains__)
        if not remaining:
            return self.close()
        self._show_ticket()
        if dropped and self._client is not None:
            self._read_again(self._client, dropped)

    def settle(self) -> None:
        """The consumer has time: accept more if it has taken everything."""
        if self._is_blocked and not self.inbox and self._client is not None:
            self._is_blocked = False
            self._client.unblock()

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""
        self.topics = frozenset()
        for timer in (self._check_timer, self._reopen_timer):
            if timer is not None:
                timer.cancel()
        if self._check_task is not None and self._check_task is not asyncio.current_task():
            self._check_task.cancel()
        self._release()

    # The outlet ----------------------------------------------------------------------------------

    def write(self, frame: Frame) -> None:
        """Put the frame into the inbox; if that is full, nothing more comes until the consumer has taken it."""
        if self._client is None:
            return
        self.inbox.put(frame)
        if self.inbox.is_full and not self._is_blocked:
            self._is_blocked = True
            self._client.block()
        if self.inbox:
            self._wake()

    def end(self) -> None:
        """The connection was closed: open another, now or after the next check, or give up."""
        if self._client is None:
            return  # It was closed while it was opened: `_open` looks itself.
        reason = self._client.connection.closed
        self._release()
        if reason in (reasons.DRAIN, reasons.LIMIT):
            self._give_up(reason)
        elif reason is reasons.EXPIRED:
            # No check has succeeded for so long. What waits may be forbidden by now.
            self.inbox.drop(lambda topic: False)
        else:
            self._reopen_timer = asyncio.get_running_loop().call_later(REOPEN_S, self._reopen)

    # The client ----------------------------------------------------------------------------------

    def _show_ticket(self) -> Reason | None:
        """Admit the client to all topics, for as long as the last check allows; return why that is not possible."""
        left_s = self._allowed_until - time.monotonic()
        if left_s <= 0:
            return None  # The next check does it.
        if self._client is None:
            refusal = self._open()
            if refusal is not None:
                return refusal
        assert self._client is not None  # noqa: S101 (it was opened)
        ticket = tickets.issue(self.topics, ttl_s=left_s, now=driver().now())
        self._client.admit(ticket, self.inbox.delivered())
        return None

    def _open(self) -> Reason | None:
        client = driver().open(POLICY, self)
        if client.connection.closed is not None:
            client.leave()
            return client.connection.closed
        self._client = client
        return None

    def _reopen(self) -> None:
        if self.topics and self._client is None and (refusal := self._show_ticket()) is not None:
            self._give_up(refusal)

    def _release(self) -> None:
        client, self._client, self._is_blocked = self._client, None, False
        if client is not None:
            client.leave()

    def _give_up(self, reason: Reason) -> None:
        self.inbox.put_unfollowed(sorted(self.topics), reason.word)
        self.close()
        self._wake()

    def _read_again(self, client: ConnectedClient, dropped: dict[str, tuple[int, bool, int]]) -> None:
        """Have the tasks whose snapshots were dropped read again: they may belong to the remaining topics too."""
        delivered, newest = self.inbox.delivered(), client.connection.newest
        for task, order in dropped.items():
            if newest.get(task) != order:
                continue  # A newer snapshot waits in the connection.
            if task in delivered:
                newest[task] = delivered[task]
            else:
                del newest[task]
        driver().read_for(self.topics, client.catch_up, lambda: client.connection.closed is not None)

    # The rights ----------------------------------------------------------------------------------

    def _schedule_check(self, after_s: float) -> None:
        if self._check_timer is not None:
            self._check_timer.cancel()
        self._check_timer = asyncio.get_running_loop().call_later(after_s, self._begin_check)

    def _begin_check(self) -> None:
        self._check_task = asyncio.ensure_future(self._check_again())

    async def _check_again(self) -> None:
        topics, began_at = self.topics, time.monotonic()
        try:
            allowed = await self._check(topics)
        except Exception as error:
            # The database's errors, and those of a site's own hook.
            _outage.begin(error, now=time.monotonic())
            return self._schedule_check(RETRY_CHECK_S)
        _outage.end(now=time.monotonic())
        self._allowed_until = began_at + RIGHTS_S
        self._schedule_check(random.uniform(*RECHECK_S))  # noqa: S311 (no secret)
        lost = sorted((topics & self.topics) - allowed)
        if lost:
            self.remove(lost)
            self.inbox.put_unfollowed(lost, FORBIDDEN)
            self._wake()
        self._reopen() if self._client is None else self._show_ticket()
