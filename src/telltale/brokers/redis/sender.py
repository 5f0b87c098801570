"""One connection that publishes, and the commands that Redis has not answered yet.

Answers are not waited for: they are read before the next commands are sent. A broken connection, a silent server
and a moved shard are noticed then, and unanswered commands can be sent again. Used only by the publisher, under
its lock.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.redis.channels import ROLE, Command
from telltale.brokers.redis.connection import ConnectionLost, RedisConnection, with_advice

ANSWER_TIMEOUT_S: Final = 1.5
"""A server that has answered nothing for so long counts as dead."""

ROLE_EVERY_S: Final = 5.0
"""How often a server is asked whether it has become a replica, while there is something to publish."""

SEND_POLL_S: Final = 0.001
"""Between two attempts to send while the kernel's buffer is full."""


class PublishRejected(BrokerUnavailable):
    """Redis answered that it does not publish."""


class Sender:
    """Owns the connection.

    A server that was demoted, or whose name has moved to another, may keep the connection open. What is published at a
    replica reaches only the listeners there, so such a connection counts as lost: the next one is made by the name.
    """

    def __init__(self, connection: RedisConnection, *, asks_role: bool) -> None:
        """`asks_role`: whether to notice that the server has become a replica; in a cluster, it says so by itself."""
        self._connection = connection
        self._heard_at = time.monotonic()
        self._ask_role_at = self._heard_at if asks_role else math.inf
        self._unanswered: deque[Command] = deque()

    @property
    def unanswered(self) -> list[Command]:
        """The messages that may not have been published."""
        return [command for command in self._unanswered if command is not ROLE]

    def read_answers(self) -> list[Command]:
        """Read the answers that have arrived; return the commands that another server must be sent.

        Raises `ConnectionLost`, also if Redis has been silent for too long, and `PublishRejected`.
        """
        answers = self._connection.replies()
        if answers or not self._unanswered:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > ANSWER_TIMEOUT_S:
            raise ConnectionLost(f"Redis has not answered for {ANSWER_TIMEOUT_S:g} s.")
        answered = [(self._unanswered.popleft(), answer) for answer in answers]
        for command, answer in answered:
            if command is ROLE:
                self._check_role(answer)
        return [
            command
            for command, answer in answered
            if command is not ROLE and isinstance(answer, hiredis.ReplyError) and _is_moved(answer)
        ]

    def _check_role(self, answer: Any) -> None:
        if isinstance(answer, hiredis.ReplyError):
            self._ask_role_at = math.inf  # The user may not ask.
        elif answer[0] != b"master":
            raise ConnectionLost("The server of Redis has become a replica.")

    def send(self, commands: Sequence[Command], deadline: float) -> None:
        """Send all commands; wait until `deadline` at most while the kernel's buffer is full.

        Raises `ConnectionLost`; then all commands are in `unanswered`.
        """
        if time.monotonic() >= self._ask_role_at:
            self._ask_role_at = time.monotonic() + ROLE_EVERY_S
            commands = [*commands, ROLE]
        self._unanswered.extend(commands)
        self._connection.queue(b"".join([command.packed for command in commands]))
        self._connection.send()
        while self._connection.has_unsent:
            if time.monotonic() > deadline:
                raise ConnectionLost("Redis accepts no more data.")
            native.sleep(SEND_POLL_S)
            self._connection.send()

    def finish(self, deadline: float) -> None:
        """Wait for the last answers, then close: closing over unread answers would drop commands already sent."""
        try:
            while self._unanswered and time.monotonic() < deadline:
                native.wait_for_io([self._connection.fileno()], timeout_s=deadline - time.monotonic())
                self.read_answers()
        except BrokerUnavailable:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _is_moved(error: hiredis.ReplyError) -> bool:
    """Whether another server has the channel; raises `PublishRejected` for any other error."""
    if str(error).startswith(("MOVED", "ASK")):
        return True
    raise PublishRejected(f"Redis rejects publishing: {with_advice(error)}")
