"""One of several processes of the live server, as its supervisor sees it: started, watched, and killed if it hangs.

The child's event loop writes bytes to a pipe (`serve.py`). A process that is stopped, or whose loop is
blocked, writes none. Its clients and its share of new connections would wait for as long as it hangs.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

FIRST_BEAT_S: Final = 120.0
"""A process may take this long to start before it counts as hung."""


class Silence:
    """How long a process has been silent, by the beats that its parent reads. The callers give the time."""

    def __init__(self, hung_s: float, *, now: float) -> None:
        self._hung_s = hung_s
        self._heard_at = self._checked_at = now
        self._has_started = False

    def is_too_long(self, *, has_beaten: bool, now: float) -> bool:
        """Whether the process hangs. Silence counts only while the caller runs too, so call it often."""
        if has_beaten:
            self._heard_at, self._has_started = now, True
        elif now - self._checked_at > self._hung_s / 2:
            self._heard_at = now  # The whole machine or container was suspended, and so was the process.
        self._checked_at = now
        return now - self._heard_at > (self._hung_s if self._has_started else max(self._hung_s, FIRST_BEAT_S))


class Child:
    """A process and the pipe of its beats."""

    def __init__(self, command: Sequence[str], *, fds: Sequence[int], env: Mapping[str, str], hung_s: float) -> None:
        """Start it with these open files; raises `OSError`. `hung_s`: without a beat for this long, it hangs."""
        self._beats, beat_end = os.pipe()
        for end in (self._beats, beat_end):
            os.set_blocking(end, False)
        try:
            # A session of its own: Ctrl-C reaches only the parent, which then stops the children.
            self.process = subprocess.Popen(  # noqa: S603 (no outside input)
                [*command, "--beat-pipe", str(beat_end)], env=env, pass_fds=[*fds, beat_end], start_new_session=True
            )
        except BaseException:
            os.close(self._beats)
            raise
        finally:
            os.close(beat_end)
        self._silence = Silence(hung_s, now=time.monotonic())

    def is_hung(self) -> bool:
        """Whether it has been silent for too long; call it often."""
        has_beaten = self._has_beaten()
        return self._silence.is_too_long(has_beaten=has_beaten, now=time.monotonic())

    def _has_beaten(self) -> bool:
        try:
            return bool(os.read(self._beats, 4_096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Free the pipe. The process must have exited."""
        os.close(self._beats)
