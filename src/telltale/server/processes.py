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

from telltale.server.options import EXIT_WRONG, CannotServe, Options
from telltale.server.serve import check, run
from telltale.server.sockets import bind, is_passed_a_socket, listen

logger = logging.getLogger(__name__)

RESTART_S: Final = 1.0
"""How long a dead process's place stays empty: one that dies again and again does not use up the machine."""

LOOK_S: Final = 0.1

PATIENCE_S: Final = 5.0
"""How much longer than its drain a process may take to end."""


class Processes:
    """`options.processes` children of this process."""

    def __init__(self, options: Options) -> None:
        """Raises `CannotServe` if the port can't be had."""
        self._options = options
        self._sockets = _sockets(options)
        # Of this pipe nothing is read but its end: so children learn of this process's own, however it came.
        self._lifeline, self._held = os.pipe()
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._died_at: dict[int, float] = {}
        self._is_ending = False

    def run(self) -> None:
        """Until told to end, by SIGTERM or SIGINT; returns when all have ended. Raises `CannotServe`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            while not self._is_ending:
                self._keep()
                time.sleep(LOOK_S)
        finally:
            self._send_away()

    def _keep(self) -> None:
        for k in range(self._options.processes):
            child = self._children.get(k)
            if child is not None and child.poll() is not None:
                self._bury(k, child.returncode)
            if k not in self._children and time.monotonic() - self._died_at.get(k, float("-inf")) >= RESTART_S:
                self._children[k] = self._start(k)

    def _bury(self, k: int, status: int) -> None:
        del self._children[k]
        if status == EXIT_WRONG:
            raise CannotServe(f"Process {k} of the live server can't begin; why stands above.")
        logger.error("Process %d of the live server ended by itself (%d); it is started anew.", k, status)
        self._died_at[k] = time.monotonic()

    def _start(self, k: int) -> "subprocess.Popen[bytes]":
        fd = self._sockets[k % len(self._sockets)].fileno()
        command = [sys.executable, "-m", "telltale.server", "--fd", str(fd), "--lifeline", str(self._lifeline)]
        command += _options_of_a_child(self._options, k)
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": django_settings.SETTINGS_MODULE,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        # A group of its own: Ctrl-C comes here, and here it is decided who ends when.
        return subprocess.Popen(command, env=env, pass_fds=[fd, self._lifeline], start_new_session=True)  # noqa: S603 (our own words)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._is_ending = True

    def _send_away(self) -> None:
        """End the children, and meanwhile have nobody wait in a queue that is served no more."""
        for child in self._children.values():
            child.terminate()
        for bound in self._sockets:
            bound.close()
        patience = time.monotonic() + self._options.drain_s + PATIENCE_S
        for child in self._children.values():
            try:
                child.wait(max(0.1, patience - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()


def _options_of_a_child(options: Options, k: int) -> list[str]:
    words = ["--drain-s", str(options.drain_s)]
    if options.status_port is not None:
        words += ["--status-port", str(options.status_port + k)]
    if options.ssl_certfile is not None:
        words += ["--ssl-certfile", options.ssl_certfile]
    if options.ssl_keyfile is not None:
        words += ["--ssl-keyfile", options.ssl_keyfile]
    return words


def _sockets(options: Options) -> Sequence[socket.socket]:
    if options.fd is not None or is_passed_a_socket() or not hasattr(socket, "SO_REUSEPORT"):
        return [listen(options)]
    # Who shares a port is not told that a stranger is there too: ask for it alone first.
    alone = bind(options.host, options.port)
    port = alone.getsockname()[1]
    alone.close()
    return [bind(options.host, port, is_shared=True) for _ in range(options.processes)]


def serve(options: Options) -> None:
    """In this process, or in as many as were asked for; returns when it has been told to end. Raises `CannotServe`."""
    if options.processes == 1:
        run(options)
    else:
        check(options)
        Processes(options).run()
