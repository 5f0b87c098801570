"""The servers that tests run against, each on a port of its own, in a directory of its own, stopped afterwards.

`python -m tests.servers postgres -- pytest …` runs a command with the tests' database on that server.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, TypeVar

import redis

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
READY_S = 90.0

S = TypeVar("S", bound="Stoppable")


class Stoppable(Protocol):
    """A server, or several."""

    def stop(self) -> None:
        """End it."""


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

    def __init__(self, directory: Path, port: int | None = None, *more: str) -> None:
        super().__init__(directory, "redis", port)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = ["--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *more]
        self.start()

    def start(self) -> None:
        """Begin, or begin again after `stop`: empty, at the same port."""
        command = ["redis-server", "--port", str(self.port), *self._options]
        self._start(command, "Ready to accept connections")

    def cut_listeners(self) -> None:
        """Close the connections of all who listen."""
        with self.client() as client:
            client.client_kill_filter(_type="pubsub")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave it there, but asleep: connections stay, and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

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


class SecureRedis(Redis):
    """With TLS, and a user for what docs/brokers.md says that a broker needs, below one prefix."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "certificate.pem"
        key = directory / "key.pem"
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        made += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key)]
        subprocess.run([*made, "-out", str(self.certificate)], check=True, capture_output=True)
        self.tls_port = free_port()
        tls = ["--tls-port", str(self.tls_port), "--tls-cert-file", str(self.certificate), "--tls-key-file", str(key)]
        tls += ["--tls-ca-cert-file", str(self.certificate), "--tls-auth-clients", "no"]
        rules = "on >p@ss/w:rd resetchannels &mysite:* +publish +subscribe +unsubscribe +ping"
        super().__init__(directory, None, *tls, "--user", "telltale", *rules.split())
        self.url = (
            f"rediss://telltale:p%40ss%2Fw%3Ard@localhost:{self.tls_port}/"
            f"?prefix=mysite:&ssl_ca_certs={self.certificate}"
        )


class WatchedRedis:
    """A master and its replica, and one sentinel that suffices to put the one in the other's place."""

    def __init__(self, directory: Path) -> None:
        self.servers: list[Server] = []
        with _stopping_if_it_fails(self):
            self.master, self.replica, self.sentinel = (_inside(directory, name) for name in ("a", "b", "s"))
            self.first = self._keep(Redis(self.master, None, "--repl-diskless-sync-delay", "0"))
            follows = ["--replicaof", "127.0.0.1", str(self.first.port), "--repl-diskless-sync-delay", "0"]
            self.second = self._keep(Redis(self.replica, None, *follows))
            self._keep(_Sentinel(self.sentinel, self.first.port))
        self.url = f"redis+sentinel://127.0.0.1:{self.servers[-1].port}/mymaster"
        _until(lambda: self._asked("num-slaves") == 1, "the sentinel knows the replica")

    def fail_over(self) -> None:
        """Kill the master, and wait until the sentinel has chosen the other."""
        self.first.stop(signal.SIGKILL)
        _until(lambda: self._asked("port") == self.second.port, "the sentinel has chosen another master")

    def cut_listeners(self) -> None:
        """Close the connections of all who listen."""
        for server in (self.first, self.second):
            server.cut_listeners()

    def stop(self) -> None:
        """All of them."""
        for server in self.servers:
            server.stop()

    def _asked(self, what: str) -> object:
        with Redis.client_at(self.servers[-1].port) as client:
            return client.sentinel_masters()["mymaster"][what]

    def _keep(self, server: S) -> S:
        self.servers.append(server)
        return server


class _Sentinel(Server):
    """Quick to decide."""

    def __init__(self, directory: Path, master: int) -> None:
        super().__init__(directory, "sentinel")
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {directory}"]
        lines += [f"sentinel monitor mymaster 127.0.0.1 {master} 1", "sentinel down-after-milliseconds mymaster 2500"]
        lines += ["sentinel failover-timeout mymaster 5000"]
        (directory / "sentinel.conf").write_text("\n".join(lines))
        self._start(["redis-server", str(directory / "sentinel.conf"), "--sentinel"], "+monitor master")


class RedisCluster:
    """Three masters."""

    def __init__(self, directory: Path) -> None:
        self.servers: list[Redis] = []
        with _stopping_if_it_fails(self):
            for name in "abc":
                options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
                options += ["--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"]
                options += ["--cluster-allow-replica-migration", "no"]
                self.servers.append(Redis(_inside(directory, name), None, *options))
            places = [f"127.0.0.1:{server.port}" for server in self.servers]
            self.cli("--cluster", "create", *places, "--cluster-yes")
            _until(self._is_agreed, "all of the cluster agree")
        self.url = "redis+cluster://" + ",".join(places[:2])

    def cli(self, *arguments: str) -> str:
        """What redis-cli says."""
        return subprocess.run(["redis-cli", *arguments], check=True, capture_output=True, text=True).stdout

    def move_slots(self, source: Redis, target: Redis) -> None:
        """Give all slots of one master but the first to another: without any it might become its replica."""
        names = {server.port: self._on(server, "CLUSTER", "MYID") for server in self.servers}
        with source.client() as client:
            ranges = client.execute_command("CLUSTER", "SLOTS")
        moved = [
            slot for first, last, (_, port, *_), *_ in ranges if port == source.port for slot in range(first, last + 1)
        ]
        for server in (target, source, *self.servers):
            with server.client() as client, client.pipeline(transaction=False) as pipeline:
                for slot in moved[1:]:
                    pipeline.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target.port])
                pipeline.execute()

    def cut_listeners(self) -> None:
        """Close the connections of all who listen."""
        for server in self.servers:
            server.cut_listeners()

    def stop(self) -> None:
        """All of them."""
        for server in self.servers:
            server.stop()

    def _is_agreed(self) -> bool:
        return all("cluster_state:ok" in self._on(server, "CLUSTER", "INFO") for server in self.servers)

    def _on(self, server: Redis, *command: str) -> str:
        return self.cli("-p", str(server.port), *command).strip()


def _inside(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir()
    return made


@contextmanager
def _stopping_if_it_fails(servers: "WatchedRedis | RedisCluster") -> Iterator[None]:
    try:
        yield
    except BaseException:
        servers.stop()
        raise


def _until(true: Callable[[], bool], what: str) -> None:
    patience = time.monotonic() + READY_S
    while not true():
        assert time.monotonic() < patience, f"Waited {READY_S:.0f} s in vain until {what}."
        time.sleep(0.05)


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
        # Its user may not write to the run's directory for temporary files.
        as_owner = [*_as("mysql", directory), "env", f"TMPDIR={directory}"]
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

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End it, also if it is paused."""
        self.resume()
        super().stop(with_signal)

    def pause(self) -> None:
        """Suspend the process: connections stay open, and no answer comes."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self._process.send_signal(signal.SIGCONT)


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


class Nginx(Server):
    """With the server blocks that it is given, which listen at `port`."""

    def __init__(self, directory: Path, blocks: Callable[[int], str]) -> None:
        """`blocks(port)`: what stands within `http`."""
        super().__init__(directory, "nginx")
        self.url = f"http://127.0.0.1:{self.port}"
        places = "".join(
            f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (directory / "nginx.conf").write_text(
            f"daemon off; pid {directory}/pid; error_log stderr notice; worker_processes 1;\n"
            f"events {{ worker_connections 1024; }}\nhttp {{ access_log off;\n{places}{blocks(self.port)} }}\n"
        )
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self._start(
            [*_as("www-data", directory), nginx, "-p", str(directory), "-c", "nginx.conf"], "start worker process"
        )


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
