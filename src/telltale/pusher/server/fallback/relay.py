"""Requests here that belong to a session of another process: finds that process, and passes on.

The process with the session keeps the connection and all its rules; this one carries bodies to it and batches back.
A stream takes one batch after the other, each when the client's line has taken the one before. Batches that the
broker loses are lost to the client, as events between processes are.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from telltale.pusher.protocol.close_codes import RECONNECT
from telltale.pusher.server.fallback import frames
from telltale.pusher.server.fallback.relay_messages import LAST, NO, YES, RelayMessage, Verb
from telltale.pusher.server.fallback.session import HEARTBEAT_S, Batch
from telltale.pusher.server.fallback.sessions import SessionId
from telltale.pusher.server.membership.membership import Membership

FIND_S: Final = 2.0
"""Time for the other processes to say whether they have a session; without an answer it counts as unknown."""

SEARCHES: Final = 100
"""Sessions that may be searched at the same time; beyond that, unknown ones count as new."""

ANSWER_S: Final = 10.0
"""Time for the answer to a body that was passed on; a batch has `HEARTBEAT_S` more."""

CHECK_S: Final = 2.0
"""How often it is checked whether the process that must answer still lives."""

REMEMBERED: Final = 10_000
"""Sessions whose process is remembered."""

Send = Callable[[str | None, str], None]
"""Sends a text to one process, or to all others."""


class OwnerGone(Exception):
    """The process that had the session, or the session in it, is gone."""


class Relay:
    """The part that asks. Lives on one event loop."""

    def __init__(self, send: Send, membership: Membership) -> None:
        self._send, self._membership = send, membership
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[RelayMessage]] = {}
        self._searches: dict[int, _Search] = {}
        self._searches_by_id: dict[SessionId, _Search] = {}
        self._owners: OrderedDict[SessionId, str] = OrderedDict()
        self._draining: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def find(self, session_id: SessionId) -> str | None:
        """Return the other process that has the session; None if there is none, or if it does not answer in time."""
        others = self._membership.processes
        owner = self._owners.get(session_id)
        if owner in others:
            return owner
        search = self._searches_by_id.get(session_id)
        if search is not None:
            return await asyncio.shield(search.owner)
        if not others or len(self._searches) >= SEARCHES:
            return None
        return await self._search(session_id, others)

    async def send(self, owner: str, session_id: SessionId, body: str) -> bool:
        """Pass on the body of a request that sends; False if the session is not open. Raises `OwnerGone`."""
        answer = await self._ask(owner, session_id, Verb.SEND, body, within_s=ANSWER_S)
        return answer is not None and answer.status == YES

    async def take(self, owner: str, session_id: SessionId) -> Batch:
        """Return the next batch of the session; wait until there is one. Raises `OwnerGone`."""
        answer = await self._ask(owner, session_id, Verb.TAKE, "", within_s=HEARTBEAT_S + ANSWER_S)
        if answer is None:
            return Batch(data=frames.closing(RECONNECT), is_last=True)
        if answer.status == NO:
            self._owners.pop(session_id, None)
            raise OwnerGone
        return Batch(data=answer.text.encode(), is_last=answer.status == LAST)

    def drain(self) -> None:
        """This process is going away: have the clients of requests that wait here connect anew."""
        if not self._draining.done():
            self._draining.set_result(None)

    def receive(self, process: str, message: RelayMessage) -> None:
        """Handle an answer of this process."""
        search = self._searches.get(message.number)
        if search is not None:
            return search.receive(process, message.status == YES)
        answer = self._answers.get(message.number)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _search(self, session_id: SessionId, others: list[str]) -> str | None:
        number = next(self._numbers)
        search = self._searches[number] = self._searches_by_id[session_id] = _Search(others)
        self._tell(None, session_id, Verb.FIND, number)
        timer = asyncio.get_running_loop().call_later(FIND_S, search.give_up)
        try:
            owner = await asyncio.shield(search.owner)
        finally:
            timer.cancel()
            search.give_up()
            del self._searches[number], self._searches_by_id[session_id]
        if owner is not None:
            self._remember(session_id, owner)
        return owner

    async def _ask(
        self, owner: str, session_id: SessionId, verb: Verb, text: str, *, within_s: float
    ) -> RelayMessage | None:
        """Return the answer; None instead of a batch if this process is going away. Raises `OwnerGone`."""
        number, loop = next(self._numbers), asyncio.get_running_loop()
        answer: asyncio.Future[RelayMessage] = loop.create_future()
        self._answers[number] = answer
        ends: set[asyncio.Future[Any]] = {answer, self._draining} if verb is Verb.TAKE else {answer}
        give_up_at = loop.time() + within_s
        self._tell(owner, session_id, verb, number, text)
        try:
            while not answer.done():
                if owner not in self._membership.processes or loop.time() > give_up_at:
                    raise OwnerGone
                if verb is Verb.TAKE and self._draining.done():
                    return None
                await asyncio.wait(ends, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
            return answer.result()
        finally:
            del self._answers[number]
            if verb is Verb.TAKE and not answer.done():
                self._tell(owner, session_id, Verb.LEAVE, number)

    def _tell(self, target: str | None, session_id: SessionId, verb: Verb, number: int, text: str = "") -> None:
        key, session = session_id
        message = RelayMessage(verb=verb, number=number, target=target, key=key, session=session, text=text)
        self._send(target, message.to_text())

    def _remember(self, session_id: SessionId, owner: str) -> None:
        self._owners[session_id] = owner
        if len(self._owners) > REMEMBERED:
            self._owners.popitem(last=False)


class RemoteReceiver:
    """A request of this process that receives for a session of another one. Satisfies `Source`."""

    def __init__(self, relay: Relay, owner: str, session_id: SessionId) -> None:
        self._relay, self._owner, self._session_id = relay, owner, session_id

    async def take(self) -> Batch:
        """Return the next batch; wait until there is one. Raises `OwnerGone`."""
        return await self._relay.take(self._owner, self._session_id)

    def close(self, _within_s: float | None = None) -> None:
        """There is nothing to end: between two batches the session waits for any request."""

    def drain(self) -> None:
        """See `Source`."""
        self._relay.drain()


class _Search:
    """A question to all other processes."""

    def __init__(self, others: list[str]) -> None:
        self.owner: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._silent = set(others)

    def receive(self, process: str, has_session: bool) -> None:
        """Note the answer of a process; the first that has the session, or the last that has not, ends the search."""
        self._silent.discard(process)
        if has_session and not self.owner.done():
            self.owner.set_result(process)
        elif not self._silent:
            self.give_up()

    def give_up(self) -> None:
        """The session counts as unknown, unless it was found."""
        if not self.owner.done():
            self.owner.set_result(None)
