"""Who is where on the whole site: the union of what each process reports of its own clients. Pure, without I/O.

Each process owns its part and sends its changes, about 20 messages a second at most; all others keep a copy. A joining
client costs O(1) and one short entry in the next message. Heartbeats carry a sum that shows whether changes were
lost; only the parts that differ are then sent again, in pages that fit a broker's message. A process that is silent
for `peers.EXPIRY_S` is dropped with all its clients. Views of processes differ for moments and agree once
messages have arrived. Messages are JSON text. Times are of this process's monotonic clock and are never compared
with another machine's.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from telltale.pusher.protocol.user_data import Member
from telltale.pusher.server.membership.changes import Change
from telltale.pusher.server.membership.entries import (
    ABSENT,
    COUNT,
    MEMBER,
    READ_ERRORS,
    USER,
    Key,
    MalformedReport,
    encode,
    read_delta,
    read_pages,
)
from telltale.pusher.server.membership.own_part import OwnPart
from telltale.pusher.server.membership.peers import ASK_AGAIN_S, HEARTBEAT_S, PATIENCE_S, Peers
from telltale.pusher.server.membership.replica import Replica
from telltale.pusher.server.membership.site_view import SiteView

SETTLE_S: Final = 1.0
"""A new process listens for this long before it takes its place in the order of starts."""

BYTES_PER_TURN: Final = 24_000
"""About the size of the messages of one `take_messages`; what is left is sent in the next turn. Some brokers drop
messages of a process that sends more than 50 kB at a time."""


class Membership:
    """The site as the process `process` sees it. The id is new for each start of a process and used by no other.

    Methods that change something return the changes of the site's view, in their order.
    """

    def __init__(self, process: str, *, is_alone: bool = False) -> None:
        """`is_alone`: the broker reaches no other process, so this one is the leader at once."""
        self.process = process
        self.wake: Callable[[], None] = _do_nothing
        """Called when a client of this process makes `take_messages` due."""
        self._own = OwnPart()
        self._peers = Peers(process)
        self._view = SiteView()
        self._connections: dict[Key, int] = {}
        self._own_prefix = f'{{"p":{encode(process)},'
        self._peers.rank = 0 if is_alone else None
        self._settled_at: float | None = None
        self._beat_at = float("-inf")
        self._is_greeting = not is_alone
        self._has_left = False

    # Clients of this process ---------------------------------------------------------------------

    def join(self, app_id: str, channel: str, member: Member | None) -> list[Change]:
        """A connection of this process subscribed; `member` on presence channels."""
        if member is None:
            key = (COUNT, app_id, channel, "")
            return self._change(key, self._connect(key))
        key = (MEMBER, app_id, channel, member.user_id)
        return self._change(key, member.user_info) if self._connect(key) == 1 else []

    def leave(self, app_id: str, channel: str, user_id: str | None) -> list[Change]:
        """A connection that had joined left; `user_id` on presence channels."""
        key = (COUNT, app_id, channel, "") if user_id is None else (MEMBER, app_id, channel, user_id)
        count = self._disconnect(key)
        if count is None or (count and user_id is not None):
            return []
        return self._change(key, count or ABSENT)

    def sign_in(self, app_id: str, user_id: str) -> list[Change]:
        """A connection of this process signed in."""
        key = (USER, app_id, user_id, "")
        return self._change(key, True) if self._connect(key) == 1 else []

    def sign_out(self, app_id: str, user_id: str) -> list[Change]:
        """A signed-in connection of this process ended."""
        key = (USER, app_id, user_id, "")
        return self._change(key, ABSENT) if self._disconnect(key) == 0 else []

    def _connect(self, key: Key) -> int:
        self._connections[key] = count = self._connections.get(key, 0) + 1
        return count

    def _disconnect(self, key: Key) -> int | None:
        """Return the number of connections that are left; None if there was none."""
        count = self._connections.pop(key, 0) - 1
        if count > 0:
            self._connections[key] = count
        return count if count >= 0 else None

    def _change(self, key: Key, value: Any) -> list[Change]:
        modifications = self._own.set(key, value)
        self.wake()
        return self._view.apply(self.process, modifications)

    # The site ------------------------------------------------------------------------------------

    def is_occupied(self, app_id: str, channel: str) -> bool:
        """Whether the channel has a subscriber on the site."""
        app = self._view.app(app_id)
        return channel in app.counts or channel in app.members

    def subscription_count(self, app_id: str, channel: str) -> int:
        """The channel's subscriptions; 0 for a presence channel, whose members are counted instead."""
        return self._view.app(app_id).counts.get(channel, 0)

    def user_count(self, app_id: str, channel: str) -> int:
        """The number of a presence channel's members."""
        return len(self._view.app(app_id).members.get(channel, ()))

    def members(self, app_id: str, channel: str) -> dict[str, Any]:
        """A presence channel's members: user's id → info. Costs O(members)."""
        members = self._view.app(app_id).members.get(channel, {})
        return {user_id: holders[0][1] for user_id, holders in members.items()}

    def is_member(self, app_id: str, channel: str, user_id: str) -> bool:
        """Whether the user is a member of a presence channel."""
        return user_id in self._view.app(app_id).members.get(channel, ())

    def channels(self, app_id: str, prefix: str = "") -> list[str]:
        """The names of occupied channels that begin with `prefix`. Costs O(channels)."""
        app = self._view.app(app_id)
        return [name for names in (app.counts, app.members) for name in names if name.startswith(prefix)]

    def is_online(self, app_id: str, user_id: str) -> bool:
        """Whether a connection of the site is signed in as this user."""
        return user_id in self._view.app(app_id).online

    # The leader ----------------------------------------------------------------------------------

    @property
    def leader(self) -> str | None:
        """The process that sends the site's webhooks: the live one that started first. None until one is known."""
        return self._peers.leader

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader, as far as it knows; another may think so of itself for a while."""
        return self._peers.leader == self.process

    @property
    def leader_heard_at(self) -> float | None:
        """When the leader was last heard; None if this process is the leader, or none is known.

        A leader that was heard a heartbeat after a change has seen that change, unless messages were lost.
        """
        leader = self._peers.leader
        return None if leader is None else self._peers.heard_at(leader)

    @property
    def processes(self) -> list[str]:
        """The ids of the other processes that live."""
        return [replica.process for replica in self._peers if not replica.is_gone]

    def heard_at(self, process: str) -> float | None:
        """When another process was last heard; None if it is not known."""
        return self._peers.heard_at(process)

    # Messages ------------------------------------------------------------------------------------

    def receive(self, message: str, now: float) -> list[Change]:
        """Read a message of any process, also one of this process that came back; raises `MalformedReport`."""
        if message.startswith(self._own_prefix):
            self._peers.hear_self(now)
            return []
        try:
            return self._read(json.loads(message), now)
        except READ_ERRORS as error:
            raise MalformedReport(
                f"A process reported its clients in another form: {message:.80} ({error!r})"
            ) from error

    def expire(self, now: float) -> list[Change]:
        """Drop processes that are gone, a part in each call; call this before `take_messages`."""
        changes: list[Change] = []
        for replica in self._peers.take_gone():
            changes += self._view.apply(replica.process, replica.drop_some())
            if replica.is_empty:
                self._peers.forget(replica)
        return changes

    def missed(self) -> None:
        """Messages may be lost: have all processes send their sums."""
        self._is_greeting = True

    @property
    def has_untold(self) -> bool:
        """Whether `take_messages` has changes to send, or pages that were asked for."""
        return self._own.has_messages

    def take_messages(self, now: float) -> list[str]:
        """Return the messages that are due: changes, pages that were asked for, questions, or a heartbeat."""
        if self._has_left:
            return []
        self._settle(now)
        messages: list[str] = []
        while _size(messages) < BYTES_PER_TURN and (delta := self._own.take_delta()):
            messages.append(self._message("delta", f',"b":{delta}'))
        while _size(messages) < BYTES_PER_TURN and (pages := self._own.take_pages()):
            messages += [self._message("pages", f',"b":{page}') for page in pages]
        for replica in self._peers.take_asks(now):
            messages.append(self._message("ask", f',"of":{encode(replica.process)},"known":{encode(replica.known)}'))
        if self._is_greeting or (not messages and now >= self._beat_at):
            messages.append(self._message("beat", f',"hello":{encode(self._is_greeting)}'))
            self._is_greeting = False
        if messages:
            self._beat_at = now + HEARTBEAT_S
        return messages

    def due_at(self, now: float) -> float:
        """When `expire` and `take_messages` have something to do, unless something happens before."""
        if self.has_untold or self._is_greeting or self._settled_at is None:
            return now
        settled_at = self._settled_at if self._peers.rank is None else self._beat_at
        return min(self._beat_at, settled_at, self._peers.due_at(now))

    def goodbye(self) -> str:
        """Return the last message of this process: the others drop its clients at once."""
        self._has_left = True
        return self._message("bye")

    def _settle(self, now: float) -> None:
        """Take a place in the order of starts, once the others had time to tell theirs."""
        if self._settled_at is None:
            self._settled_at = now + SETTLE_S
        if self._peers.rank is None and now >= self._settled_at:
            self._peers.rank = self._peers.next_rank()
            self._beat_at = now

    def _message(self, kind: str, content: str = "") -> str:
        own = self._own
        head = f'"n":{own.number},"t":{own.total},"r":{encode(self._peers.rank)},"k":"{kind}"'
        return f"{self._own_prefix}{head}{content}}}"

    def _read(self, report: Mapping[str, Any], now: float) -> list[Change]:
        # Everything is read before anything is applied: half of a malformed message must not stay behind.
        process, rank, kind, number, total = (report[name] for name in "prknt")
        if not (isinstance(process, str) and isinstance(rank, int | None) and isinstance(number + total, int)):
            raise ValueError("process, rank, number or total")
        deltas = read_delta(report["b"]) if kind == "delta" else []
        pages = read_pages(report["b"]) if kind == "pages" else []
        replica = self._peers.hear(process, rank=rank, now=now)
        if replica is None:
            return []
        self._answer(replica, report, now)
        was_behind = replica.is_behind
        replica.reported(number, total)
        modifications = replica.apply_delta(number, deltas)
        for page in pages:
            modifications += replica.apply_page(page)
            replica.ask_at = now + ASK_AGAIN_S
        if replica.is_behind and not was_behind:
            replica.ask_at = max(replica.ask_at, now + PATIENCE_S)
        return self._view.apply(replica.process, modifications)

    def _answer(self, replica: Replica, report: Mapping[str, Any], now: float) -> None:
        kind = report["k"]
        if kind == "ask" and report["of"] == self.process:
            self._own.asked({int(bucket): int(version) for bucket, version in report["known"].items()})
        elif kind == "beat" and report["hello"]:
            self._beat_at = now
        elif kind == "bye":
            self._peers.leave(replica.process)


def _size(messages: list[str]) -> int:
    return sum(map(len, messages))


def _do_nothing() -> None:
    """In place of `Membership.wake` while nothing sends messages."""
