"""The live server in its operator's hands: how it begins, what it says when it can't, how it ends."""

import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

import telltale
from telltale.live import tickets
from tests.factories import moved, started, task_of
from tests.runners.benches import descendants
from tests.servers import ROOT, free_port
from tests.transports.conftest import BySocket
from tests.transports.raw import Socket, hello
from tests.transports.sites import ProcessSite, environment, until

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

Starts = Callable[..., ProcessSite]


@pytest.fixture
def fails(transactional_db: None) -> Callable[..., str]:
    """`fails("--port", "1")`: starts it, and returns what it says when it can't serve."""

    def fail(*options: str, through: str = "-m telltale.server", **env: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", *through.split(), *options],
            env=os.environ | environment() | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode in {1, 2}, ended
        assert "Traceback" not in ended.stderr
        return ended.stderr

    return fail


# When it can't begin


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_in_use_is_told_with_the_mend(fails: Any, processes: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = fails("--port", port, "--processes", processes)
    assert f"Port {port} of 127.0.0.1 can't be had: Address already in use." in said
    assert "--port" in said


def test_a_status_port_in_use_ends_all_processes_and_is_told(fails: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status = str(taken.getsockname()[1])
        said = fails("--port", str(free_port()), "--processes", "2", "--status-port", status)
    assert f"Port {status} of 127.0.0.1 can't be had" in said


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_certificate_that_is_not_there_or_none_is_told(fails: Any, tmp_path: Path, processes: str) -> None:
    nothing = tmp_path / "nothing.pem"
    options = ["--port", str(free_port()), "--processes", processes, "--ssl-certfile", str(nothing)]
    assert f"The certificate {nothing} (key: in the same file) can't be used: No such file" in fails(*options)
    nothing.write_text("no certificate")
    assert "can't be used" in fails(*options)
    assert "--ssl-keyfile is given without --ssl-certfile" in fails("--ssl-keyfile", str(nothing))


@pytest.mark.parametrize("through", ["-m telltale.server", "-m django telltale serve"])
def test_wrong_settings_are_told_as_the_checks_tell_them(fails: Any, through: str) -> None:
    said = fails("--port", str(free_port()), through=through, TELLTALE_MORE='{"BEAT_S": -1}')
    assert "telltale.E" in said
    assert "BEAT_S" in said


def test_options_that_contradict_each_other_are_told(fails: Any, tmp_path: Path) -> None:
    assert "--uds has none" in fails("--processes", "2", "--uds", str(tmp_path / "socket"))
    assert "at least one is needed" in fails("--processes", "0")
    assert "No socket was passed as number 77, which --fd names" in fails("--fd", "77")


def test_a_file_at_the_sockets_path_is_not_removed(fails: Any, tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("Dear Ada")
    assert f"{path} is no socket, and stays as it is" in fails("--uds", str(path))
    assert path.read_text() == "Dear Ada"


# How it is reached


def test_a_broker_that_is_not_there_is_said_once_and_costs_only_smoothness(starts: Starts) -> None:
    server = starts(broker=f"redis://127.0.0.1:{free_port()}/0", RECHECK_S=1.0)
    task = task_of()
    heard = BySocket(server, tickets.issue([f"task:{task.pk}"]))
    heard.task(task.pk)
    claim = started(task)
    for seq in (2, 3, 4):
        moved(claim, seq / 10, seq=seq)
        heard.task(task.pk, lambda s, seq=seq: s["seq"] == seq)
    heard.close()
    assert server.said().count("Connection refused") <= 1, server.said()
    assert server.said().count("WARNING") + server.said().count("Listening to the broker") >= 1, server.said()


def test_a_unix_socket_is_served_to_everybody_and_replaces_a_dead_one(starts: Starts, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    process = _popen("--uds", str(path))
    try:
        until(lambda: _answers_at(path), "it answers at its socket")
        assert path.stat().st_mode & 0o777 == 0o666
    finally:
        process.terminate()
        process.wait(20)


def test_a_unix_socket_that_is_served_is_not_taken_away(fails: Any, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        assert "Somebody serves at" in fails("--uds", str(path))


@pytest.mark.parametrize("how", ["--fd", "systemd", "systemd, two processes"])
def test_a_socket_that_is_passed_in_is_served(transactional_db: None, how: str) -> None:
    with socket.socket() as passed:
        passed.bind(("127.0.0.1", 0))
        passed.listen()
        url = f"http://127.0.0.1:{passed.getsockname()[1]}/healthz"
        process = _given(passed, how)
    try:
        until(lambda: httpx.get(url, timeout=20).status_code == 200, "it answers")
    finally:
        process.terminate()
        process.wait(30)


def _given(passed: socket.socket, how: str) -> "subprocess.Popen[bytes]":
    """The server, with this socket as systemd gives it, or under its number."""
    if how == "--fd":
        return _popen("--fd", str(passed.fileno()), pass_fds=[passed.fileno()])
    processes = "2" if "two" in how else "1"
    # systemd sets LISTEN_PID after its fork, to the number that the server will have.
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


def test_tls_is_served_to_those_who_know_the_certificate(starts: Starts, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    port, status = free_port(), free_port()
    options = ["--port", str(port), "--status-port", str(status)]
    process = _popen(*options, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    try:
        until(lambda: _status(status) == 200, "it answers, and its operator without TLS")
        trust = ssl.create_default_context(cafile=str(certificate))
        with connect(f"wss://localhost:{port}/telltale/live/", ssl=trust, open_timeout=20) as client:
            client.send(hello("project:7").decode())
            assert '"hello"' in str(client.recv(20))
            telltale.publish("project:7", "x", {"a": 1})
            assert '"update"' in str(client.recv(20))
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {tickets.issue(['project:7'])}"}
        with httpx.stream("GET", f"https://localhost:{port}/telltale/live/", headers=headers, verify=trust) as answer:
            lines = answer.iter_lines()
            assert any('"hello"' in line for line in lines)
    finally:
        process.terminate()
        process.wait(20)


# Several processes


def test_of_two_processes_both_serve_and_one_that_is_killed_is_replaced(starts: Starts) -> None:
    status = two_free_ports()
    server = starts("--processes", "2", "--status-port", str(status))
    until(lambda: _status(status) == _status(status + 1) == 200, "both answer their operator")
    clients = [BySocket(server, tickets.issue(["project:7"])) for _ in range(12)]
    for client in clients:
        client.type("hello")
    counts = [_connections(status), _connections(status + 1)]
    assert min(counts) > 0
    assert sum(counts) == 12
    telltale.publish("project:7", "x", 1)
    for client in clients:
        client.until(lambda m: m.get("events"))
    victim, *_ = descendants(server.pid)
    os.kill(victim, signal.SIGKILL)
    lost = [client for client in clients if _has_ended(client)]
    assert len(lost) in counts
    back = [BySocket(server, tickets.issue(["project:7"])) for _ in lost]
    for client in back:
        client.type("hello")
    assert "is started anew" in server.said()
    assert victim not in descendants(server.pid)
    until(lambda: _status(status) == _status(status + 1) == 200, "both are there again")
    server.goes_away()
    for client in {*clients, *back} - {*lost}:
        assert client.type("bye")["code"] == 4000
    server.ends_within(25)
    for client in clients + back:
        client.close()


def test_processes_do_not_outlive_the_one_that_started_them(starts: Starts) -> None:
    server = starts("--processes", "2")
    until(lambda: len(descendants(server.pid)) == 2, "both have begun")
    children = descendants(server.pid)
    until(lambda: server.said().count("serves") == 2, "both serve")
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait(10)
    until(lambda: not any(_is_alive(child) for child in children), "the others have ended as well")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", server.port))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def two_free_ports() -> int:
    """The first of two, from below those that the kernel gives to clients, of whom there are many here."""
    while True:
        port = random.randrange(20_000, 30_000, 2)
        with socket.socket() as one, socket.socket() as another:
            if one.connect_ex(("127.0.0.1", port)) and another.connect_ex(("127.0.0.1", port + 1)):
                return port


def _has_ended(client: BySocket) -> bool:
    try:
        while not client.ended:
            client.more(1.5)
    except TimeoutError:
        return False
    return True


def _status(port: int) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code
    except httpx.TransportError:
        return None


def _connections(port: int) -> int:
    return int(httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10).json()["connections"])


# The end, and what it says of itself


def test_sigterm_sends_all_away_in_batches_with_a_hint_and_ends_in_time(starts: Starts) -> None:
    status = free_port()
    server = starts("--status-port", str(status), "--drain-s", "8")
    clients = [Socket(server) for _ in range(700)]
    stays = Socket(server)  # and never answers the closing frame
    assert _status(status) == 200
    began = time.monotonic()
    server.goes_away()
    seen = []
    while server.is_alive and time.monotonic() - began < 20:
        seen.append(_status(status))
        for client in clients[:100]:
            code, messages = client.closing()
            assert (code, messages[-1]["reason"]) == (4000, "drain")
            assert messages[-1]["within_s"] >= 1
            client.socket.close()
        del clients[:100]
    assert 503 in seen
    assert clients == []
    assert server.ends_within(20) < 20
    assert stays.closing()[0] == 4000
    stays.socket.close()
    with pytest.raises(OSError, match="refused"):
        Socket(server)


def test_metrics_are_prometheus_and_at_the_status_port_alone(starts: Starts) -> None:
    status = free_port()
    server = starts("--status-port", str(status))
    heard = BySocket(server, tickets.issue(["project:7"]))
    heard.type("hello")
    BySocket(server, "nonsense").ends()
    telltale.publish("project:7", "x", 1)
    heard.until(lambda m: m.get("events"))
    assert httpx.get(f"{server.url}/metrics", timeout=20).status_code == 404
    assert httpx.get(f"{server.url}/healthz", timeout=20).json()["broker_reaches"] == "this machine"
    text = httpx.get(f"http://127.0.0.1:{status}/metrics", timeout=20).text
    samples = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert samples[("telltale_connections",)] == 1
    assert samples[("telltale_topics",)] == 1
    assert samples[("telltale_closed_total", "no ticket")] == 1
    assert samples[("telltale_opened_total",)] == 2
    assert samples[("telltale_deliveries_total",)] >= 2
    heard.close()
