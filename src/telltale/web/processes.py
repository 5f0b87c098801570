"""Several processes of the live server behind one port: starts them, keeps them there, ends them.

Each has a listening socket of its own at the shared port (`SO_REUSEPORT`), among which the kernel spreads clients;
where platforms lack that, or a socket was passed in, all share one. The sockets belong to this process, so the
clients of a process that died wait in its queue until its successor is there. Knows nothing of what is served.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from django.conf import settings as django_settings

from telltale.web.serve import Options, bind, listen, run

logger = logging.getLogger(__name__)

RESTART_S: Final = 1.0
"""How long a dead process's place stays empty: one that can't start does not use up the machine."""

LOOK_S: Final = 0.1


class Processes:
    """`options.processes` children of this process."""

    def __init__(self, options: Options) -> None:
        """Raises `CannotServe` if the port can't be had."""
        self._options = options
        self._sockets = _sockets(options)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._died_at: dict[int, float] = {}
        self._is_ending = False

    def run(self) -> None:
        """Until told to end, by SIGTERM or SIGINT; returns when all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            while not self._is_ending:
                self._keep()
                time.sleep(LOOK_S)
            self._wait()
        finally:
            for child in self._children.values():
                child.kill()

    def _keep(self) -> None:
        for k in range(self._options.processes):
            child = self._children.get(k)
            if child is not None and child.poll() is not None:
                logger.error(
                    "Process %d of the live server ended by itself (%d); it is started anew.", k, child.returncode
                )
                del self._children[k]
                self._died_at[k] = time.monotonic()
            if k not in self._children and time.monotonic() - self._died_at.get(k, float("-inf")) >= RESTART_S:
                self._children[k] = self._start(k)

    def _start(self, k: int) -> "subprocess.Popen[bytes]":
        fd = self._sockets[k % len(self._sockets)].fileno()
        options = self._options
        command = [sys.executable, "-m", "telltale.web", "--fd", str(fd), "--drain-s", str(options.drain_s)]
        if options.status_port is not None:
            command += ["--status-port", str(options.status_port + k)]
        if options.ssl_certfile is not None:
            command += ["--ssl-certfile", options.ssl_certfile]
        if options.ssl_keyfile is not None:
            command += ["--ssl-keyfile", options.ssl_keyfile]
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": django_settings.SETTINGS_MODULE,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        # A group of its own: Ctrl-C comes here, and here it is decided who ends when.
        return subprocess.Popen(command, env=env, pass_fds=[fd], start_new_session=True)  # noqa: S603 (our own words)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._is_ending = True
        for child in self._children.values():
            child.terminate()

    def _wait(self) -> None:
        patience = time.monotonic() + self._options.drain_s + 5
        for child in self._children.values():
            try:
                child.wait(max(0.1, patience - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()


def _sockets(options: Options) -> Sequence[socket.socket]:
    if options.fd is not None or "LISTEN_FDS" in os.environ or not hasattr(socket, "SO_REUSEPORT"):
        return [listen(options)]
    # Who shares a port is not told that a stranger is there too: ask for it alone first.
    alone = bind(options.host, options.port)
    port = alone.getsockname()[1]
    alone.close()
    return [bind(options.host, port, is_shared=True) for _ in range(options.processes)]


def serve(options: Options) -> None:
    """In this process, or in as many as were asked for; returns when it has been told to end."""
    if options.processes == 1:
        run(options)
    else:
        Processes(options).run()
