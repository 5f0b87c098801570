"""One line that publishes, and what was sent over it that Redis has not answered yet.

Answers are not waited for: they are read before the next is sent. So a cut, a silence and a moved shard are
noticed then, and what was under way can be sent again. Used by the publisher alone, under its lock.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import hiredis

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.redis.channels import Command
from telltale.brokers.redis.line import Line, LineLost, with_mend

ANSWER_S: Final = 1.5
"""A server that has left something unanswered for so long is dead, or as good as dead."""

FULL_PAUSE_S: Final = 0.001
"""Between two looks whether the kernel takes more."""


class Refused(BrokerUnavailable):
    """Redis is there, and will not carry."""


class Sender:
    """Owns the line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._heard_at = time.monotonic()
        self.unanswered: deque[Command] = deque()

    def settle(self) -> list[Command]:
        """Read the answers that are there; gives what another server has to be asked for.

        Raises `LineLost`, also at a silence that lasts too long, and `Refused`.
        """
        answers = self._line.replies()
        if answers or not self.unanswered:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > ANSWER_S:
            raise LineLost(f"Redis has not answered for {ANSWER_S:g} s.")
        settled = [(self.unanswered.popleft(), answer) for answer in answers]
        return [command for command, answer in settled if isinstance(answer, hiredis.ReplyError) and _has_moved(answer)]

    def send(self, commands: Sequence[Command], patience_at: float) -> None:
        """Send all of these, waiting no longer than until `patience_at` while the kernel takes no more.

        Raises `LineLost`; then they are among the unanswered.
        """
        self.unanswered.extend(commands)
        self._line.queue(b"".join([command.packed for command in commands]))
        self._line.send()
        while self._line.is_behind:
            if time.monotonic() > patience_at:
                raise LineLost("Redis takes in nothing more.")
            native.sleep(FULL_PAUSE_S)
            self._line.send()

    def finish(self, patience_at: float) -> None:
        """Wait for the last answers, then let go: a socket closed over unread answers takes along what it has sent."""
        try:
            while self.unanswered and time.monotonic() < patience_at:
                native.wait_for_io([self._line.fileno()], timeout_s=patience_at - time.monotonic())
                self.settle()
        except BrokerUnavailable:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the line."""
        self._line.close()


def _has_moved(error: hiredis.ReplyError) -> bool:
    if str(error).startswith(("MOVED", "ASK")):
        return True
    raise Refused(f"Redis refuses to publish: {with_mend(error)}")
