"""One connection that publishes, and the commands that Redis has not answered yet.

Answers are not waited for: they are read before the next commands are sent. A broken connection, a silent server
and a moved shard are noticed then, and unanswered commands can be sent again. Used only by the publisher, under
its lock.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import hiredis

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.redis.channels import Command
from telltale.brokers.redis.connection import ConnectionLost, RedisConnection, with_advice

ANSWER_TIMEOUT_S: Final = 1.5
"""A server that has answered nothing for so long counts as dead."""

SEND_POLL_S: Final = 0.001
"""Between two attempts to send while the kernel's buffer is full."""


class PublishRejected(BrokerUnavailable):
    """Redis answered that it does not publish."""


class Sender:
    """Owns the connection."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._heard_at = time.monotonic()
        self.unanswered: deque[Command] = deque()

    def read_answers(self) -> list[Command]:
        """Read the answers that have arrived; return the commands that another server must be sent.

        Raises `ConnectionLost`, also if Redis has been silent for too long, and `PublishRejected`.
        """
        answers = self._connection.replies()
        if answers or not self.unanswered:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > ANSWER_TIMEOUT_S:
            raise ConnectionLost(f"Redis has not answered for {ANSWER_TIMEOUT_S:g} s.")
        answered = [(self.unanswered.popleft(), answer) for answer in answers]
        return [command for command, answer in answered if isinstance(answer, hiredis.ReplyError) and _is_moved(answer)]

    def send(self, commands: Sequence[Command], deadline: float) -> None:
        """Send all commands; wait until `deadline` at most while the kernel's buffer is full.

        Raises `ConnectionLost`; then all commands are in `unanswered`.
        """
        self.unanswered.extend(commands)
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
            while self.unanswered and time.monotonic() < deadline:
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
