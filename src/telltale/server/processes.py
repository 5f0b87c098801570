"""Runs the live server: in this process, or in several behind one port, which are restarted if they die or hang.

Each process has its own listening socket on the shared port (`SO_REUSEPORT`), and the kernel spreads the clients over
them. On platforms without that option, or if a socket was passed in, all processes share one socket. The sockets
belong to the parent process, so the clients of a process that died wait in its socket's queue for the next one.
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

from telltale.server.child import Child
from telltale.server.hangup import on_hangup
from telltale.server.options import EXIT_CANNOT_SERVE, CannotServe, Options
from telltale.server.serve import check, run
from telltale.server.sockets import bind, is_passed_a_socket, listen

logger = logging.getLogger(__name__)

RESTART_S: Final = 1.0
"""Time until a process that died is restarted, so that one that dies at once does not use up the machine."""

CHECK_EVERY_S: Final = 0.1

KILL_AFTER_S: Final = 5.0
"""A process that has not exited this long after its drain is killed."""


def serve(options: Options) -> None:
    """Serve until told to stop, in as many processes as `options` say. Raises `CannotServe`."""
    if options.processes == 1:
        run(options)
    else:
        check(options)
        Supervisor(options).run()


class Supervisor:
    """Starts `options.processes` child processes and restarts those that die."""

    def __init__(self, options: Options) -> None:
        """Raises `CannotServe` if the port can't be opened."""
        self._options = options
        self._sockets = _open_sockets(options)
        # Nothing is written to this pipe: its end tells the children that this process has exited, however it did.
        self._pipe, self._pipe_end = os.pipe()
        self._children: dict[int, Child] = {}
        self._died_at: dict[int, float] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP; return when all children have exited. Raises `CannotServe`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        on_hangup(self._stop)
        try:
            while not self._is_stopping:
                self._start_missing()
                time.sleep(CHECK_EVERY_S)
        finally:
            self._stop_children()

    def _start_missing(self) -> None:
        for k in range(self._options.processes):
            child = self._children.get(k)
            if child is not None and child.process.poll() is not None:
                self._remove_dead(k, child.process.returncode)
            elif child is not None and child.is_hung():
                logger.error(
                    "Process %d of the live server stood still for %d s; it is killed.", k, self._options.hung_s
                )
                child.process.kill()
            if k not in self._children and time.monotonic() - self._died_at.get(k, float("-inf")) >= RESTART_S:
                self._try_to_start(k)

    def _remove_dead(self, k: int, exit_code: int) -> None:
        self._children.pop(k).close()
        if exit_code == EXIT_CANNOT_SERVE:
            raise CannotServe(f"Process {k} of the live server can't start; its own message is above.")
        logger.error("Process %d of the live server died (exit code %d); it is restarted.", k, exit_code)
        self._died_at[k] = time.monotonic()

    def _try_to_start(self, k: int) -> None:
        try:
            self._children[k] = self._start(k)
        except OSError as error:
            # Such as no memory for a moment: the other processes go on serving.
            logger.error("Process %d of the live server can't be started now (%s); it is tried again.", k, error)
            self._died_at[k] = time.monotonic()

    def _start(self, k: int) -> Child:
        fd = self._sockets[k % len(self._sockets)].fileno()
        command = [sys.executable, "-m", "telltale.server", "--fd", str(fd), "--parent-pipe", str(self._pipe)]
        command += _child_options(self._options, k)
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": django_settings.SETTINGS_MODULE,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        return Child(command, fds=[fd, self._pipe], env=env, hung_s=self._options.hung_s)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _stop_children(self) -> None:
        """Stop the children and close the sockets at once, so that no client waits in a queue that is not served."""
        for child in self._children.values():
            child.process.terminate()
        for bound in self._sockets:
            bound.close()
        kill_at = time.monotonic() + self._options.drain_s + KILL_AFTER_S
        for child in self._children.values():
            try:
                child.process.wait(max(0.1, kill_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()


def _child_options(options: Options, k: int) -> list[str]:
    words = ["--drain-s", str(options.drain_s)]
    if options.status_port is not None:
        words += ["--status-port", str(options.status_port + k)]
    if options.ssl_certfile is not None:
        words += ["--ssl-certfile", options.ssl_certfile]
    if options.ssl_keyfile is not None:
        words += ["--ssl-keyfile", options.ssl_keyfile]
    return words


def _open_sockets(options: Options) -> Sequence[socket.socket]:
    if options.fd is not None or is_passed_a_socket() or not hasattr(socket, "SO_REUSEPORT"):
        return [listen(options)]
    # A shared bind would succeed beside another program that shares the port too: test an exclusive one first.
    exclusive = bind(options.host, options.port)
    port = exclusive.getsockname()[1]
    exclusive.close()
    return [bind(options.host, port, is_shared=True) for _ in range(options.processes)]
