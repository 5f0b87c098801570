"""Operating the live server: starting, error messages, several processes, stopping, metrics."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

import telltale
from telltale.live import tickets
from telltale.server import processes
from telltale.server.child import FIRST_BEAT_S, Child, Silence
from telltale.server.options import CannotServe, Options
from tests.factories import moved, started, task_of
from tests.runners.workers import descendants
from tests.servers import ROOT, free_port
from tests.transports.conftest import SocketClient
from tests.transports.raw import Socket, hello
from tests.transports.sites import PATIENCE_S, ProcessSite, environment, wait_until
from tests.transports.slow import KEY

pytestmark = pytest.mark.service

Starts = Callable[..., ProcessSite]


@pytest.fixture
def fails(transactional_db: None) -> Callable[..., str]:
    """`fails("--port", "1")`: start it, and return its error output; it must exit."""

    def fail(*options: str, command: str = "-m telltale.server", **env: str) -> str:
        finished = subprocess.run(
            [sys.executable, "-W", "ignore", *command.split(), *options],
            env=os.environ | environment() | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert finished.returncode in {1, 2}, finished
        assert "Traceback" not in finished.stderr
        return finished.stderr

    return fail


# Errors at the start


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_in_use_is_reported_with_the_remedy(fails: Any, processes: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        errors = fails("--port", port, "--processes", processes)
    assert f"Can't listen on port {port} of 127.0.0.1: Address already in use." in errors
    assert "--port" in errors


def test_a_status_port_in_use_stops_all_processes_and_is_reported(fails: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status = str(other.getsockname()[1])
        errors = fails("--port", str(free_port()), "--processes", "2", "--status-port", status)
    assert f"Can't listen on port {status} of 127.0.0.1" in errors


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_missing_or_malformed_certificate_is_reported(fails: Any, tmp_path: Path, processes: str) -> None:
    certificate = tmp_path / "certificate.pem"
    options = ["--port", str(free_port()), "--processes", processes, "--ssl-certfile", str(certificate)]
    assert f"Can't use the certificate {certificate} (key: in the same file): No such file" in fails(*options)
    certificate.write_text("no certificate")
    assert "Can't use the certificate" in fails(*options)
    assert "--ssl-keyfile is given without --ssl-certfile" in fails("--ssl-keyfile", str(certificate))


@pytest.mark.parametrize("command", ["-m telltale.server", "-m django telltale serve"])
def test_wrong_settings_are_reported_as_by_the_checks(fails: Any, command: str) -> None:
    errors = fails("--port", str(free_port()), command=command, TELLTALE_MORE='{"BEAT_S": -1}')
    assert "telltale.E" in errors
    assert "BEAT_S" in errors


def test_contradicting_options_are_reported(fails: Any, tmp_path: Path) -> None:
    assert "--processes is 2 and --uds is given" in fails("--processes", "2", "--uds", str(tmp_path / "socket"))
    assert "--processes is 0: give at least 1" in fails("--processes", "0")
    assert "--fd names file descriptor 77, which is no socket" in fails("--fd", "77")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--port", "86737"], "--port is 86737: give a number from 0 to 65535"),
        (["--port", "-1"], "--port is -1: give a number from 0 to 65535"),
        (["--status-port", "70000"], "--status-port is 70000: give a number from 1 to 65535"),
        (["--status-port", "65535", "--processes", "2"], "--status-port is 65535: give a number from 1 to 65534"),
        (["--drain-s", "-5"], "--drain-s is -5: give a number from 0 to 3600"),
        (["--hung-s", "0"], "--hung-s is 0: give a number from 2 to 3600"),
        (["--fd", "-1"], "--fd is -1: give a number from 0 to "),
        (["--fd", "3", "--uds", "x"], "--fd is 3 and --uds is x: give one of the two"),
    ],
)
def test_an_option_out_of_range_is_refused_with_the_range(options: list[str], problem: str) -> None:
    parser = ArgumentParser()
    Options.add_to(parser)
    with pytest.raises(CannotServe) as refused:
        Options.of(vars(parser.parse_args(options)))
    assert problem in str(refused.value)


def test_a_port_that_does_not_exist_is_not_taken_for_another(fails: Any) -> None:
    assert "--port is 86737: give a number from 0 to 65535" in fails("--port", "86737")
    app = ["--app-id", "1", "--key", "key", "--secret", "secret"]
    assert "--port is 86737" in fails("--port", "86737", *app, command="-m telltale.pusher")


def test_another_file_at_the_path_of_the_socket_is_not_removed(fails: Any, tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("Dear Ada")
    assert f"{path} exists and is not a socket" in fails("--uds", str(path))
    assert path.read_text() == "Dear Ada"


# Brokers, sockets, TLS


def test_an_unreachable_broker_is_logged_once_and_updates_still_arrive(starts: Starts) -> None:
    server = starts(broker=f"redis://127.0.0.1:{free_port()}/0", RECHECK_S=1.0)
    task = task_of()
    client = SocketClient(server, tickets.issue([f"task:{task.pk}"]))
    client.snapshot(task.pk)
    claim = started(task)
    for seq in (2, 3, 4):
        moved(claim, seq / 10, seq=seq)
        client.snapshot(task.pk, lambda s, seq=seq: s["seq"] == seq)
    client.close()
    assert server.output().count("Connection refused") <= 1, server.output()
    assert server.output().count("WARNING") + server.output().count("Listening to the broker") >= 1, server.output()


def test_a_unix_socket_is_open_to_all_users_and_replaces_a_dead_one(starts: Starts, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    process = _popen("--uds", str(path))
    try:
        wait_until(lambda: _answers_at(path), "it answers on its socket")
        assert path.stat().st_mode & 0o777 == 0o666
    finally:
        process.terminate()
        process.wait(20)


def test_a_unix_socket_of_a_running_server_is_not_replaced(fails: Any, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        assert "Another server listens on" in fails("--uds", str(path))


@pytest.mark.parametrize("how", ["--fd", "systemd", "systemd, two processes"])
def test_a_passed_socket_is_used(transactional_db: None, how: str) -> None:
    with socket.socket() as passed:
        passed.bind(("127.0.0.1", 0))
        passed.listen()
        url = f"http://127.0.0.1:{passed.getsockname()[1]}/healthz"
        process = _start_with(passed, how)
    try:
        wait_until(lambda: httpx.get(url, timeout=60).status_code == 200, "it answers")
    finally:
        process.terminate()
        process.wait(30)


def _start_with(passed: socket.socket, how: str) -> "subprocess.Popen[bytes]":
    """Start the server with this socket, passed as systemd does or by its file descriptor."""
    if how == "--fd":
        return _popen("--fd", str(passed.fileno()), pass_fds=[passed.fileno()])
    processes = "2" if "two" in how else "1"
    # systemd sets LISTEN_PID after its fork, to the process id of the server.
    script = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
    script += "os.execv(sys.executable, [sys.executable, '-m', 'telltale.server', '--processes', sys.argv[2]])"
    command = [sys.executable, "-c", script, str(passed.fileno()), processes]
    env = os.environ | environment() | {"LISTEN_FDS": "1"}
    return subprocess.Popen(
        command, env=env, cwd=ROOT, pass_fds=[passed.fileno(), 3] if passed.fileno() == 3 else [passed.fileno()]
    )


def _popen(*options: str, **more: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "telltale.server", *options]
    return subprocess.Popen(command, env=os.environ | environment(), cwd=ROOT, **more)


def _answers_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        if client.connect_ex(str(path)) != 0:
            return False
        client.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return b" 200 " in client.recv(4096)


@contextmanager
def _serving_tls(directory: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """Yield the port of a server with TLS, and a context that trusts its certificate."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    port, status = free_port(), free_port()
    options = ["--port", str(port), "--status-port", str(status)]
    process = _popen(*options, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    try:
        wait_until(lambda: _status(status) == 200, "the status port answers, without TLS")
        yield port, ssl.create_default_context(cafile=str(certificate))
    finally:
        process.terminate()
        process.wait(20)


def test_tls_is_served_with_the_given_certificate(starts: Starts, tmp_path: Path) -> None:
    with _serving_tls(tmp_path) as (port, trust):
        with connect(f"wss://localhost:{port}/telltale/live/", ssl=trust, open_timeout=20) as client:
            client.send(hello("project:7").decode())
            assert '"hello"' in str(client.recv(20))
            telltale.publish("project:7", "x", {"a": 1})
            assert '"update"' in str(client.recv(20))
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {tickets.issue(['project:7'])}"}
        with httpx.stream("GET", f"https://localhost:{port}/telltale/live/", headers=headers, verify=trust) as answer:
            lines = answer.iter_lines()
            assert any('"hello"' in line for line in lines)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13", b" 101 "),
        ("Accept: text/event-stream\r\nAuthorization: Bearer none", b" 401 "),
    ],
    ids=["socket", "stream"],
)
def test_a_request_that_comes_with_the_end_of_the_tls_handshake_is_answered(
    starts: Starts, tmp_path: Path, headers: str, status: bytes
) -> None:
    """The server's own end of the handshake still waits to be sent: that is no sign of a client that does not read."""
    with _serving_tls(tmp_path) as (port, trust), socket.create_connection(("localhost", port), timeout=20) as line:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def until_done(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    line.sendall(outgoing.read())
                    data = line.recv(65_536)
                    assert data, "The server closed the connection."
                    incoming.write(data)

        until_done(tls.do_handshake)
        tls.write(f"GET /telltale/live/ HTTP/1.1\r\nHost: localhost\r\n{headers.format(KEY)}\r\n\r\n".encode())
        assert status in until_done(tls.read)


# Several processes


def test_both_processes_serve_clients_and_a_killed_one_is_restarted(starts: Starts) -> None:
    status = free_port(2)
    server = starts("--processes", "2", "--status-port", str(status))
    wait_until(lambda: _status(status) == _status(status + 1) == 200, "both status ports answer")
    clients: list[SocketClient] = []
    counts = [0, 0]
    while min(counts) == 0 or len(clients) < 12:  # The kernel chooses the process.
        clients.append(SocketClient(server, tickets.issue(["project:7"])))
        clients[-1].message("hello")
        counts = [_connections(status), _connections(status + 1)]
        assert sum(counts) == len(clients) < 200
    telltale.publish("project:7", "x", 1)
    for client in clients:
        client.until(lambda m: m.get("events"))
    victim, *_ = descendants(server.pid)
    os.kill(victim, signal.SIGKILL)
    telltale.publish("project:7", "x", 2)
    disconnected = [client for client in clients if not _receives_event(client, 2)]
    assert len(disconnected) in counts
    returned = [SocketClient(server, tickets.issue(["project:7"])) for _ in disconnected]
    for client in returned:
        client.message("hello")
    wait_until(lambda: "it is restarted" in server.output(), "the log says that it is restarted")
    assert victim not in descendants(server.pid)
    wait_until(lambda: _status(status) == _status(status + 1) == 200, "both answer again")
    server.begin_shutdown()
    for client in {*clients, *returned} - {*disconnected}:
        assert client.message("bye")["code"] == 4000
    server.wait_for_exit(40)
    for client in clients + returned:
        client.close()


def test_a_process_that_hangs_is_replaced(starts: Starts) -> None:
    status = free_port(2)
    server = starts("--processes", "2", "--status-port", str(status), "--hung-s", "5")
    wait_until(lambda: _status(status) == _status(status + 1) == 200, "both status ports answer")
    hung, *_ = descendants(server.pid)
    os.kill(hung, signal.SIGSTOP)
    try:
        wait_until(lambda: not _is_alive(hung), "the process that stands still is killed")
        assert "stood still for 5 s; it is killed" in server.output()
        wait_until(lambda: _status(status) == _status(status + 1) == 200, "both answer again")
    finally:
        with suppress(ProcessLookupError):
            os.kill(hung, signal.SIGKILL)
    client = SocketClient(server, tickets.issue(["project:7"]))
    client.message("hello")
    client.close()


class Watched:
    """A process that has just been started, and its parent, which runs every second."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.silence = Silence(10.0, now=self.now)

    def hangs_after(self, seconds: float, *, has_beaten: bool = False) -> bool:
        """Let time pass; return whether the process counts as hung at the end."""
        answers = []
        for _ in range(round(seconds)):
            self.now += 1.0
            answers.append(self.silence.is_too_long(has_beaten=has_beaten, now=self.now))
        return answers[-1]


def test_silence_counts_only_after_the_start_and_while_the_parent_runs_too() -> None:
    watched = Watched()
    assert not watched.hangs_after(FIRST_BEAT_S), "it may take long to start"
    assert not watched.hangs_after(60, has_beaten=True)
    assert not watched.hangs_after(10)
    assert watched.hangs_after(1), "silent for more than 10 s"
    assert not watched.hangs_after(1, has_beaten=True)
    watched.now += 1_000.0
    assert not watched.hangs_after(1), "both were suspended"
    assert not watched.hangs_after(10)
    assert watched.hangs_after(1)


def test_a_process_that_never_starts_counts_as_hung() -> None:
    assert Watched().hangs_after(FIRST_BEAT_S + 1)


def test_processes_exit_with_their_parent(starts: Starts) -> None:
    server = starts("--processes", "2")
    wait_until(lambda: len(descendants(server.pid)) == 2, "both have started")
    children = descendants(server.pid)
    wait_until(lambda: server.output().count("serves") == 2, "both serve")
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait(10)
    wait_until(lambda: not any(_is_alive(child) for child in children), "the children have exited as well")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", server.port))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def _receives_event(client: SocketClient, data: object) -> bool:
    """Wait for this event; False if the connection ends before."""
    while not client.has_ended:
        if any(event["data"] == data for event in client.messages[-1].get("events", [])):
            return True
        client.receive(PATIENCE_S)
    return False


def _status(port: int) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code
    except httpx.TransportError:
        return None


def _connections(port: int) -> int:
    return int(httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10).json()["connections"])


# Stopping, and metrics


def test_f37_sigterm_closes_all_clients_in_batches_with_a_hint_and_exits_in_time(starts: Starts) -> None:
    status = free_port()
    server = starts("--status-port", str(status), "--drain-s", "12")
    clients = [Socket(server) for _ in range(700)]
    staying = Socket(server)  # It never answers the closing frame.
    assert _status(status) == 200
    began = time.monotonic()
    server.begin_shutdown()
    statuses = []
    while server.is_alive and time.monotonic() - began < 60:
        statuses.append(_status(status))
        for client in clients[:100]:
            code, messages = client.closing()
            assert (code, messages[-1]["reason"]) == (4000, "drain")
            assert messages[-1]["within_s"] >= 1
            client.socket.close()
        del clients[:100]
    assert 503 in statuses
    assert clients == []
    server.wait_for_exit(40)
    assert staying.closing()[0] == 4000
    staying.socket.close()
    with pytest.raises(OSError, match="refused"):
        Socket(server)


@pytest.fixture
def sighup_by_default() -> Iterator[None]:
    """Processes that this test starts do not ignore SIGHUP, as they would if the tests were started by nohup."""
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, inherited)


@pytest.mark.usefixtures("sighup_by_default")
@pytest.mark.parametrize("options", [[], ["--processes", "2"]], ids=["one", "two"])
def test_sighup_drains_as_sigterm_does(starts: Starts, options: list[str]) -> None:
    server = starts(*options)
    client = SocketClient(server, tickets.issue(["project:7"]))
    client.message("hello")
    os.kill(server.pid, signal.SIGHUP)
    bye = client.message("bye")
    assert (bye["code"], bye["again"]) == (4000, "later")
    server.wait_for_exit(40)
    client.close()


def test_s28_metrics_are_in_prometheus_format_and_on_the_status_port_alone(starts: Starts) -> None:
    status = free_port()
    server = starts("--status-port", str(status))
    client = SocketClient(server, tickets.issue(["project:7"]))
    client.message("hello")
    SocketClient(server, "nonsense").wait_for_end()
    telltale.publish("project:7", "x", 1)
    client.until(lambda m: m.get("events"))
    assert httpx.get(f"{server.url}/metrics", timeout=20).status_code == 404
    assert httpx.get(f"{server.url}/healthz", timeout=20).json()["broker_reaches"] == "this machine"
    text = httpx.get(f"http://127.0.0.1:{status}/metrics", timeout=20).text
    samples = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert samples[("telltale_connections",)] == 1
    assert samples[("telltale_topics",)] == 1
    assert samples[("telltale_closed_total", "no ticket")] == 1
    assert samples[("telltale_opened_total",)] == 2
    assert samples[("telltale_deliveries_total",)] >= 2
    client.close()


def test_a_process_that_cannot_be_started_now_is_tried_again_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Running:
        def __init__(self, *_: object, **__: object) -> None:
            if len(tried) == 1:
                tried.append(False)
                raise BlockingIOError(11, "Resource temporarily unavailable")
            tried.append(True)
            self.process = SimpleNamespace(poll=lambda: None)

        def is_hung(self) -> bool:
            return False

    tried: list[bool] = []
    monkeypatch.setattr(processes, "Child", Running)
    monkeypatch.setattr(processes, "RESTART_S", 0.0)
    supervisor = processes.Supervisor(Options(port=free_port(), processes=2))
    supervisor._start_missing()
    assert tried == [True, False]
    assert "Process 1 of the live server can't be started now" in caplog.text
    supervisor._start_missing()
    assert tried == [True, False, True]
    for bound in supervisor._sockets:
        bound.close()
    for end in (supervisor._pipe, supervisor._pipe_end):
        os.close(end)


def test_a_process_that_cannot_be_started_leaves_no_pipe_open() -> None:
    before = os.listdir("/dev/fd")
    with pytest.raises(OSError, match="nowhere"):
        Child(["/nowhere"], fds=[], env={}, hung_s=30)
    assert os.listdir("/dev/fd") == before
