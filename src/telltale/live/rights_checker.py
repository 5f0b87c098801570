"""Checks the rights of one event loop's clients while they are connected; the ends of rights close connections.

All users are checked regularly, a ticket that is not fresh before its first snapshots, and users at once where
Django's signals tell (a message of `pages.sign_out`). The queries run in a thread of their own, a batch at a time, and
the regular ones are spread evenly. What can't be checked, such as while the database is down, goes on until its
ticket expires. Everything else is on the event loop, in short turns. Used by `driver.py` alone.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from django.db import close_old_connections

from telltale import store
from telltale.core import reasons
from telltale.core.outage import Outage
from telltale.core.policy import Bearer, Grant
from telltale.core.wire import Envelope, Malformed
from telltale.live import rights
from telltale.live.client import ConnectedClient

logger = logging.getLogger(__name__)

PASS_S: Final = 20.0
"""All users are checked once in this time. Two checks of the same user are at most two passes apart, because a pass may
check first whom the next checks last. With `FRESH_S` that is less than the minute that is promised."""

FRESH_S: Final = 10.0
"""A ticket that was issued so recently needs no check before the regular one: what it says was true then."""

SETTLE_S: Final = 2.0
"""From a message about a user to the check. The request that saved the user may still renew its own session: a page
that asked for a ticket meanwhile would come with the old cookie, and the answer would delete the new one. The same time
after a sign-out, the session may still give out tickets: they are refused too."""

SCAN_S: Final = 0.5
"""At most so often all clients are looked through for those whom messages concern."""

SLICE: Final = 2_000
"""Clients that are looked at in one turn of the event loop."""

MAX_SESSIONS: Final = 20_000
"""Sessions that ended and are remembered until their tickets have expired."""

OnChecked = Callable[[bool], None]
"""Called with whether the rights have ended."""


class RightsChecker:
    """For the clients of one driver. All methods run on its event loop."""

    def __init__(self, clients: Callable[[], Collection[ConnectedClient]], now: Callable[[], float]) -> None:
        """`now`: the time of the store's clock."""
        self._clients, self._now = clients, now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="telltale-rights")
        self._waiting: dict[Bearer, list[OnChecked]] = {}
        self._ended_sessions: dict[str, float] = {}
        """By the digest of the session's key: the tickets issued until then are refused."""
        self._new_sessions: set[str] = set()
        self._changed_users: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._settle_timer: asyncio.TimerHandle | None = None
        self._outage = Outage(logger, "Checking rights", "Connections stay open until their tickets expire.")

    # For clients ---------------------------------------------------------------------------------

    def has_signed_out(self, grant: Grant) -> bool:
        """Whether the session of the ticket has ended, as far as messages told."""
        ended_at = self._ended_sessions.get(grant.session) if grant.session else None
        return ended_at is not None and grant.issued_at <= ended_at

    def is_due(self, grant: Grant) -> bool:
        """Whether the rights have to be checked before anything is sent."""
        return grant.bearer is not None and self._now() - grant.issued_at > FRESH_S

    def check(self, bearer: Bearer, on_checked: OnChecked) -> None:
        """Check soon, together with others that come meanwhile, and call `on_checked`; with False if that fails."""
        self._waiting.setdefault(bearer, []).append(on_checked)
        self._run("waiting", self._check_waiting)

    def start(self) -> None:
        """Begin the regular checks, which go on while there are clients; harmless when repeated."""
        self._run("regular", self._check_regularly)

    # For the driver ------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """Close the clients of the sessions that the message names; check soon the users that it names."""
        try:
            data: Any = envelope.event.data if envelope.event is not None else None
        except Malformed:
            return
        names = data if isinstance(data, dict) else {}
        if sessions := _texts(names.get("sessions")):
            self._remember(sessions)
            self._new_sessions |= sessions
            self._run("sessions", self._end_sessions)
        if users := _texts(names.get("users")):
            self._changed_users |= users
            if self._settle_timer is None:
                self._settle_timer = asyncio.get_running_loop().call_later(SETTLE_S, self._on_settled)

    def close(self) -> None:
        """Stop checking."""
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        for task in self._tasks.values():
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Sessions that ended -------------------------------------------------------------------------

    def _remember(self, sessions: Iterable[str]) -> None:
        until = self._now() + SETTLE_S
        for session in sessions:
            self._ended_sessions.pop(session, None)
            self._ended_sessions[session] = until
        while len(self._ended_sessions) > MAX_SESSIONS:
            del self._ended_sessions[next(iter(self._ended_sessions))]

    async def _end_sessions(self) -> None:
        while self._new_sessions:
            sessions, self._new_sessions = self._new_sessions, set()
            async for client, grant in self._granted():
                if grant.session in sessions and self.has_signed_out(grant):
                    client.close(reasons.EXPIRED)
            await asyncio.sleep(SCAN_S)

    # Users ---------------------------------------------------------------------------------------

    def _on_settled(self) -> None:
        self._settle_timer = None
        self._run("users", self._check_changed_users)

    async def _check_changed_users(self) -> None:
        while self._changed_users:
            users, self._changed_users = self._changed_users, set()
            bearers = {
                grant.bearer async for _, grant in self._granted() if grant.bearer and grant.bearer.user in users
            }
            for batch in rights.batches(bearers):
                await self._check_and_close(batch)
            await asyncio.sleep(SCAN_S)

    async def _check_regularly(self) -> None:
        while self._clients():
            bearers = {grant.bearer async for _, grant in self._granted() if grant.bearer}
            batches = rights.batches(bearers)
            for batch in batches:
                await asyncio.sleep(PASS_S / len(batches))
                await self._check_and_close(batch)
            if not batches:
                await asyncio.sleep(PASS_S)

    async def _check_and_close(self, bearers: list[Bearer]) -> None:
        if ended := await self._ended(bearers):
            async for client, grant in self._granted():
                if grant.bearer in ended:
                    client.close(reasons.EXPIRED)

    async def _check_waiting(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            for batch in rights.batches(waiting):
                ended = await self._ended(batch)
                for bearer in batch:
                    for on_checked in waiting[bearer]:
                        on_checked(bearer in ended)

    async def _ended(self, bearers: list[Bearer]) -> set[Bearer]:
        """Return those whose rights have ended; none if that can't be known now."""
        try:
            ended = await asyncio.get_running_loop().run_in_executor(self._thread, _read_ended, bearers)
        except Exception as error:
            # A database may raise any error, and work again in a second.
            self._outage.begin(error, now=time.monotonic())
            return set()
        self._outage.end(now=time.monotonic())
        return ended

    # Shared --------------------------------------------------------------------------------------

    async def _granted(self) -> AsyncIterator[tuple[ConnectedClient, Grant]]:
        """Yield all clients that have a ticket, a slice in each turn of the event loop."""
        clients = list(self._clients())
        for start in range(0, len(clients), SLICE):
            for client in clients[start : start + SLICE]:
                grant = client.connection.grant
                if grant is not None:
                    yield client, grant
            await asyncio.sleep(0)

    def _run(self, name: str, work: Callable[[], Any]) -> None:
        """Do this work in a task, unless it is being done."""
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.ensure_future(work())


def _read_ended(bearers: list[Bearer]) -> set[Bearer]:
    close_old_connections()
    try:
        with store.time_limit():
            return rights.ended(bearers)
    finally:
        close_old_connections()


def _texts(value: object) -> set[str]:
    return {text for text in value if isinstance(text, str)} if isinstance(value, list) else set()
