"""`FollowMixin`: a project's own consumer follows topics, as a page does.

    class ProjectConsumer(FollowMixin, AsyncJsonWebsocketConsumer):
        async def connect(self):
            await self.follow("project:7")      # raises FollowRefused, which denies the connection
            await self.accept()

        async def task_changed(self, snapshot):
            await self.send_json(snapshot.to_json())

In a sync consumer all is the same without `async` and `await`. The methods are called by the consumer's own dispatch,
one after another, as its handlers of messages from the layer are: in a sync consumer in its thread, and never two at
once. No layer is needed.
"""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, TypeVar

from asgiref.sync import iscoroutinefunction
from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from django.http import HttpRequest

from telltale import conf, store
from telltale.channels.follow.follower import Follower
from telltale.channels.follow.inbox import Inbox, Item, Unfollowed
from telltale.channels.follow.rights import allowed_topics, request_now, user_now
from telltale.core.reasons import Reason
from telltale.core.snapshot import Snapshot
from telltale.core.topics import parse_open
from telltale.core.wire import Notice
from telltale.live.tickets import MAX_TOPICS
from telltale.transports.http import Receive, Scope, Send

logger = logging.getLogger(__name__)

HANDOVER_S: Final = 10.0
"""How long a sync consumer waits for the event loop."""

TURN_S: Final = 0.05
"""How long the methods are called before the client's messages have their turn; one that is slow may take longer."""

METHODS: Final = ("task_changed", "notice", "event")
"""What a consumer may define; also `unfollowed`."""

T = TypeVar("T")


class FollowRefused(DenyConnection):  # type: ignore[misc]
    """A topic can't be followed. Raised in `connect`, it denies the connection."""


class FollowMixin:
    """Adds `follow` to a consumer, sync or async; it stands before the consumer's class. Define, as you need them:

    `task_changed(snapshot)`: a `Snapshot`; the first comes at once, then the newest; a slow consumer skips those in
    between. `notice(notice)`: a `Notice` that no page has shown; `take_notice` marks it as shown. `event(event)`: an
    `Event` that was published to a topic. `unfollowed(topic, reason)`: the consumer no longer follows the topic:
    "forbidden" (after a logout or a lost permission), "drain" (the server stops) or "limit" (too many clients).
    """

    _sync: bool
    scope: Scope
    _follower: Follower | None = None
    _loop: asyncio.AbstractEventLoop
    _loop_thread: int
    _context: Context

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a class that could not work."""
        super().__init_subclass__(**options)
        classes = cls.__mro__
        if AsyncConsumer not in classes:
            return
        if classes.index(FollowMixin) > classes.index(AsyncConsumer):
            raise TypeError(
                f"{cls.__name__} names FollowMixin after its consumer class, so it has no effect: write "
                f"class {cls.__name__}(FollowMixin, …Consumer)."
            )
        for name in (*METHODS, "unfollowed"):
            if cls._sync and iscoroutinefunction(getattr(cls, name, None)):
                raise TypeError(
                    f"{cls.__name__}.{name} is async, but {cls.__name__} is a sync consumer: write def {name}, "
                    "or use an async consumer class."
                )

    # For the consumer ----------------------------------------------------------------------------

    def follow(self, *topics: str) -> Any:
        """Follow these topics, all or none of them; await it in an async consumer. Once is enough.

        Raises `FollowRefused` if the visitor may not follow one of them, or if this server is full or stops,
        `InvalidTopic` for a malformed topic, and `ValueError` beyond 200 topics.
        """
        return self._follow_in_thread(topics) if self._sync else self._follow_on_loop(topics)

    def unfollow(self, *topics: str) -> Any:
        """Follow these topics no longer; nothing comes of them any more. Await it in an async consumer."""
        remove = partial(self._following().remove, topics)
        return self._run_on_loop(remove) if self._sync else _as_coroutine(remove)

    def take_notice(self, notice: Notice) -> Any:
        """Whether this consumer may show the notice: True for the first who asks. Await it in an async consumer."""
        take = partial(store.take_notice, notice.id, (notice.topic,))
        return take() if self._sync else database_sync_to_async(take)()

    def current_user(self, request: HttpRequest) -> Any:
        """Return the visitor's user as of now, or an `AnonymousUser`; called in a thread, so it may use the ORM.

        By default the session decides (`request.session` is as stored now). Override it if your users are
        authenticated otherwise, for example by tokens that expire.
        """
        return user_now(self.scope, getattr(request, "session", None))

    # Following -----------------------------------------------------------------------------------

    async def _follow_on_loop(self, topics: Collection[str]) -> None:
        new, began_at = self._new_topics(topics), time.monotonic()
        self._require(new, await database_sync_to_async(self._allowed)(new))
        self._add(new, began_at)

    def _follow_in_thread(self, topics: Collection[str]) -> None:
        new, began_at = self._new_topics(topics), time.monotonic()
        self._require(new, self._allowed(new))
        self._run_on_loop(partial(self._add, new, began_at))

    def _new_topics(self, topics: Collection[str]) -> frozenset[str]:
        if not any(hasattr(self, name) for name in METHODS):
            raise TypeError(
                f"{type(self).__name__} follows {', '.join(map(repr, topics))}, but has no method that would be "
                f"called: define one of {', '.join(METHODS)}."
            )
        for topic in topics:
            parse_open(topic)
        followed = self._following().topics
        count = len(followed.union(topics))
        if count > MAX_TOPICS:
            raise ValueError(
                f"{type(self).__name__} would follow {count} topics; at most {MAX_TOPICS} are possible: follow the "
                "owner's topic, or a topic of your own that covers them."
            )
        return frozenset(topics) - followed

    def _allowed(self, topics: Collection[str]) -> frozenset[str]:
        """Return those of the topics that the visitor may follow now; uses the ORM."""
        return allowed_topics(request_now(self.scope, self.current_user), topics)

    def _require(self, topics: Collection[str], allowed: Collection[str]) -> None:
        refused = sorted(set(topics) - set(allowed))
        if refused:
            raise self._refused(refused, _fix_for_rights())

    def _add(self, topics: Collection[str], began_at: float) -> None:
        refusal = self._following().add(topics, checked_at=began_at) if topics else None
        if refusal is not None:
            raise self._refused(sorted(topics), _fix_for_server(refusal))

    def _refused(self, topics: Collection[str], fix: str) -> FollowRefused:
        user = self.scope.get("user")
        visitor = "an anonymous visitor" if user is None or not user.is_authenticated else f"user {user.pk}"
        refusal = FollowRefused(f"{type(self).__name__} can't follow {', '.join(topics)} for {visitor}. {fix}")
        # Logged too, because Channels turns it into a denied connection without a word.
        logger.warning("%s", refusal)
        return refusal

    def _following(self) -> Follower:
        if self._follower is None:
            raise RuntimeError(
                f"{type(self).__name__} follows outside of a connection: call it in connect() or in a handler."
            )
        return self._follower

    def _run_on_loop(self, function: Callable[[], T]) -> T:
        """Call the function on the event loop, from the thread of a sync consumer, and return its result."""
        if threading.get_ident() == self._loop_thread:
            return function()
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:
                outcome.set_exception(error)

        # In the connection's context: with that of the thread, asgiref would take the later checks for a deadlock.
        self._loop.call_soon_threadsafe(run, context=self._context)
        return outcome.result(HANDOVER_S)

    # Delivering ----------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; also hand what is followed to the consumer's dispatch."""
        self.scope = scope
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._context = copy_context()
        mailbox = _Mailbox(receive)
        self._follower = mailbox.follower = Follower(database_sync_to_async(self._allowed), mailbox.wake)
        try:
            await super().__call__(scope, mailbox.receive, send)  # type: ignore[misc]
        finally:
            self._follower.close()
            # The thread of a sync consumer may still be about to follow: nobody would end that.
            self._follower = None
            await mailbox.close()

    def telltale_deliver(self, message: MutableMapping[str, Any]) -> Any:
        """Handle the mailbox's message: call the methods for what waits."""
        return self._deliver_in_thread() if self._sync else self._deliver_on_loop()

    def _deliver_in_thread(self) -> None:
        for call in self._calls():
            call()

    async def _deliver_on_loop(self) -> None:
        for call in self._calls():
            awaitable = call()
            if not inspect.isawaitable(awaitable):
                raise TypeError(
                    f"{type(self).__name__}.{call.func.__name__} is not async, but {type(self).__name__} is an async "
                    f"consumer: write async def {call.func.__name__}."
                )
            await awaitable

    def _calls(self) -> Iterator["partial[Any]"]:
        """Yield the calls for what waits, for a short time; then the client's messages have their turn."""
        inbox, end_at = self._following().inbox, time.monotonic() + TURN_S
        while time.monotonic() < end_at:
            item = inbox.take()
            if item is None:
                return
            name, arguments = _call_for(item)
            if (method := getattr(self, name, None)) is not None:
                yield partial(method, *arguments)


def _call_for(item: Item) -> tuple[str, tuple[Any, ...]]:
    """Return the name of the method for an item, and its arguments."""
    if isinstance(item, Unfollowed):
        return "unfollowed", tuple(item)
    if isinstance(item, Snapshot):
        return "task_changed", (item,)
    return ("notice" if isinstance(item, Notice) else "event"), (item,)


def _fix_for_rights() -> str:
    hook = conf.settings().can_follow
    if hook is None:
        return (
            "Visitors may follow their own topics and tasks only: check that the consumer is inside "
            "AuthMiddlewareStack and the user signed in, or set TELLTALE['CAN_FOLLOW'] for topics of your own."
        )
    return f"TELLTALE['CAN_FOLLOW'] ({hook}) does not allow it, and it is not the visitor's own."


def _fix_for_server(refusal: Reason) -> str:
    return f"{refusal.meaning} The client should return later; TELLTALE['CONNECTIONS'] is the limit of one process."


async def _as_coroutine(function: Callable[[], T]) -> T:
    return function()


class _Mailbox:
    """What a consumer receives: its client's messages, and a message of ours when its inbox has something.

    If both wait, they take turns, but nothing is handed over after a disconnect.
    """

    follower: Follower

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._receiving: asyncio.Future[MutableMapping[str, Any]] | None = None
        self._has_news = asyncio.Event()
        self._is_clients_turn = True

    def wake(self) -> None:
        """Something has come."""
        self._has_news.set()

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message for the consumer."""
        self.follower.settle()
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
            self._receiving.add_done_callback(lambda _: self.wake())
        inbox: Inbox = self.follower.inbox
        while True:
            self._has_news.clear()
            if self._receiving.done() and (self._is_clients_turn or not inbox or self._has_left(self._receiving)):
                self._is_clients_turn = False
                received, self._receiving = self._receiving, None
                return received.result()
            if inbox:
                self._is_clients_turn = True
                return {"type": "telltale.deliver"}
            await self._has_news.wait()

    @staticmethod
    def _has_left(received: asyncio.Future[MutableMapping[str, Any]]) -> bool:
        return received.exception() is not None or received.result()["type"] == "websocket.disconnect"

    async def close(self) -> None:
        """Stop receiving."""
        if self._receiving is not None:
            self._receiving.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._receiving
