"""The servers that tests run against, each on a port of its own, in a directory of its own, stopped afterwards.

`python -m tests.servers postgres -- pytest …` runs a command with the tests' database on that server.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

import redis

ROOT = Path(__file__).parents[1]
READY_S = 60.0

S = TypeVar("S", bound="Server")


def spawn(command: Sequence[str], env: Mapping[str, str], out: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start `command` in a process group of its own, with both its outputs in `out`."""
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    )


def await_text(log: Path, text: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until `text` is in the log; a process that ends before is told with all that it said."""
    patience = time.monotonic() + READY_S
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < patience, log.read_text()
        time.sleep(0.05)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process that serves, with a log that says when it is ready."""

    def __init__(self, directory: Path, name: str, port: int | None = None) -> None:
        self.directory, self.port = directory, port or free_port()
        self._log = directory / f"{name}.log"

    def _start(self, command: Sequence[str], ready: str, env: Mapping[str, str] | None = None) -> None:
        with self._log.open("wb") as out:
            self._process = spawn(command, env or {}, out)
        await_text(self._log, ready, self._process)

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, with_signal)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


class Redis(Server):
    """In memory alone."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        super().__init__(directory, "redis", port)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        self._start(["redis-server", *options], "Ready to accept connections")

    def forget(self) -> None:
        """Drop whatever earlier tests have left in it."""
        with self.client() as client:
            client.flushall()

    def client(self) -> "redis.Redis":
        """A client of it."""
        return self.client_at(self.port)

    @staticmethod
    def client_at(port: int) -> "redis.Redis":
        """A client of whoever is there, or nobody."""
        return redis.Redis(port=port)


class Postgres(Server):
    """Without a password, for this machine alone, and without care for what a power cut would lose."""

    variable = "TELLTALE_TEST_POSTGRES"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "postgres")
        self.url = f"postgres://telltale@127.0.0.1:{self.port}/postgres"
        home = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
        data = directory / "data"
        as_owner = _as("postgres", directory)
        initdb = [*as_owner, str(home / "initdb"), "-D", str(data), "-A", "trust", "-U", "telltale", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True)
        options = f"-p {self.port} -k {directory} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
        self._command = [*as_owner, str(home / "postgres"), "-D", str(data), *options.split()]
        self.begin()

    def begin(self) -> None:
        """Start; again, after `stop`, at the same port and with the same data."""
        self._start(self._command, "ready to accept connections")

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> None:
        """At once, whoever is connected."""
        self.resume()
        super().stop(with_signal)

    def pause(self) -> None:
        """Have all its processes stand still: connections stay open, and nobody answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *map(int, children.read_text().split())] if children.exists() else []


class PgBouncer(Server):
    """In front of a PostgreSQL server, in transaction mode: who is idle has no server process."""

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        super().__init__(directory, "pgbouncer")
        self.url = f"postgres://telltale@127.0.0.1:{self.port}/postgres"
        (directory / "users.txt").write_text('"telltale" ""\n')
        (directory / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {directory}/users.txt\npool_mode = transaction\n"
        )
        as_owner = _as("postgres", directory)
        self._start([*as_owner, "/usr/sbin/pgbouncer", str(directory / "pgbouncer.ini")], "process up")


class MariaDB(Server):
    """Likewise."""

    variable = "TELLTALE_TEST_MARIADB"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "mariadb")
        data = directory / "data"
        as_owner = _as("mysql", directory)
        install = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        subprocess.run([*as_owner, *install], check=True, capture_output=True)
        options = [f"--datadir={data}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        options += [f"--socket={directory}/socket", f"--pid-file={directory}/pid", "--innodb-flush-log-at-trx-commit=0"]
        self._start([*as_owner, "mariadbd", "--no-defaults", *options], "ready for connections")
        root = ["mariadb", "--no-defaults", f"--socket={directory}/socket", "-u", "root", "-e"]
        grant = "CREATE USER telltale@localhost IDENTIFIED BY 'telltale'; GRANT ALL ON *.* TO telltale@localhost;"
        subprocess.run([*root, grant], check=True, capture_output=True)


class RabbitMQ(Server):
    """A node of its own, with its own port mapper."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "rabbitmq")
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        env = {
            "RABBITMQ_NODENAME": f"telltale{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1 -setcookie telltale",
            "ERL_EPMD_PORT": str(free_port()),
            "HOME": str(directory),
        }
        (directory / "plugins").write_text("[].")
        # Debian's own script would change to a user and a home that are not ours.
        binary = max(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        self._start([*_as("rabbitmq", directory), str(binary)], "Starting broker... completed", env)


def _as(user: str, directory: Path) -> list[str]:
    """Servers refuse to run as root: as `user` instead, to whom `directory` is given, with the way to it open."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(user)
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, entry.pw_uid, entry.pw_gid)
    for parent in directory.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["setpriv", f"--reuid={user}", f"--regid={entry.pw_gid}", "--clear-groups"]


@contextmanager
def running(make: Callable[[Path], S]) -> Iterator[S]:
    """A server in a directory that goes with it."""
    directory = Path(tempfile.mkdtemp(prefix="telltale-"))
    try:
        server = make(directory)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Run a command with the tests' database on a server that is started for it."""
    name, _dashes, *command = arguments
    kind = {"postgres": Postgres, "mariadb": MariaDB}[name]
    with running(kind) as server:
        return subprocess.run(command, env={**os.environ, kind.variable: str(server.port)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
