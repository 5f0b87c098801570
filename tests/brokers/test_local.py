"""The local broker: its private directory, dead and stopped listeners, other processes."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale.brokers import build
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.local.broker import LocalBroker
from telltale.brokers.local.directory import default_path
from telltale.testing.brokers import Received, assert_eventually, collect, listen, make_messages

LISTENER = """
import sys, time
from pathlib import Path
from telltale.brokers.local.broker import LocalBroker
broker = LocalBroker(Path(sys.argv[1]))
received = []
broker.listen(received.extend, lambda topics: None)
print("listening", flush=True)
time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("l") / "s"


@pytest.fixture
def broker(directory: Path) -> Iterator[LocalBroker]:
    broker = LocalBroker(directory)
    yield broker
    broker.close()


@pytest.fixture
def other_process(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process of the same site, which listens."""
    process = subprocess.Popen([sys.executable, "-c", LISTENER, str(directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


def sockets(directory: Path) -> list[Path]:
    return list(directory.glob("*.sock"))


def test_only_its_user_can_enter_its_directory(broker: LocalBroker, directory: Path) -> None:
    collect(broker)
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755])
def test_a_directory_that_other_users_may_enter_is_refused_and_the_error_says_how_to_correct_it(
    broker: LocalBroker, directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(BrokerUnavailable, match="chmod 700"):
        collect(broker)
    with pytest.raises(BrokerUnavailable, match="chmod 700"):
        broker.publish(make_messages(b"secret"))


def test_a_link_in_place_of_the_directory_is_refused(broker: LocalBroker, directory: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    directory.symlink_to(tmp_path)
    with pytest.raises(BrokerUnavailable, match="link"):
        collect(broker)
    with pytest.raises(BrokerUnavailable, match="link"):
        broker.publish(make_messages(b"secret"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_another_users_directory_is_refused(broker: LocalBroker, directory: Path) -> None:
    directory.mkdir(mode=0o700)
    os.chown(directory, 65_534, 65_534)
    with pytest.raises(BrokerUnavailable, match="belongs to the user 65534"):
        collect(broker)


def test_a_link_among_the_sockets_is_not_followed(broker: LocalBroker, directory: Path, tmp_path: Path) -> None:
    collect(broker)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(str(tmp_path / "trap.sock"))
        (directory / "ffffffff.sock").symlink_to(tmp_path / "trap.sock")
        broker.publish(make_messages(b"secret"))
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.recv(10_000)


def test_the_socket_of_a_dead_listener_is_removed(
    broker: LocalBroker, directory: Path, other_process: "subprocess.Popen[str]"
) -> None:
    received = collect(broker)
    assert len(sockets(directory)) == 2
    other_process.kill()
    other_process.wait()
    broker.publish(make_messages(b"one"))
    broker.publish(make_messages(b"two"))
    received.assert_received(b"one", b"two")
    assert_eventually(lambda: len(sockets(directory)) == 1, "the dead listener's socket is removed")


def test_a_stopped_listener_does_not_delay_publishers_or_other_listeners(
    broker: LocalBroker, directory: Path, other_process: "subprocess.Popen[str]"
) -> None:
    received = collect(broker)
    other_process.send_signal(signal.SIGSTOP)
    for n in range(200):
        broker.publish(make_messages(f"{n}".encode()))
        time.sleep(0.001)
    assert_eventually(
        lambda: received[-1:] == [b"199"] or received.missed_count > 0, "the other listener receives messages"
    )


def test_two_sites_receive_nothing_of_each_other(tmp_path: Path) -> None:
    ours, theirs = LocalBroker(tmp_path / "a"), LocalBroker(tmp_path / "b")
    received = collect(theirs)
    ours.publish(make_messages(b"ours"))
    theirs.publish(make_messages(b"theirs"))
    received.assert_received(b"theirs")
    assert received == [b"theirs"]
    ours.close()
    theirs.close()


def test_the_default_path_depends_on_the_secret_key(settings) -> None:
    our_path = default_path()
    settings.SECRET_KEY = "another site's"
    assert default_path() != our_path


ENVIRONMENTS = [{"XDG_RUNTIME_DIR": "/run/user/1000"}, {"TMPDIR": "/run"}, {}]

LISTEN_AND_PUBLISH = """
import django; django.setup()
from telltale.brokers import broker
from telltale.testing.brokers import collect, make_messages
received = collect(broker())
print("listening", flush=True)
broker().publish(make_messages(input().encode()))
received.assert_received(b"0", b"1", b"2")
input()
broker().close()
"""


def test_processes_of_a_user_hear_each_other_whatever_their_environment_says_of_directories(tmp_path: Path) -> None:
    site = {"DJANGO_SETTINGS_MODULE": "tests.settings", "TELLTALE_BROKER": "local://"}
    site["TELLTALE_TEST_DB"] = str(tmp_path / "site.sqlite3")
    processes = []
    for extra in ENVIRONMENTS:
        env = {name: value for name, value in os.environ.items() if name not in {"XDG_RUNTIME_DIR", "TMPDIR"}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", LISTEN_AND_PUBLISH],
                env={**env, **site, **extra},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
        for number, process in enumerate(processes):
            assert process.stdin is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        for process in processes:
            process.communicate("end\n", timeout=100)
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()


def test_the_last_listener_removes_the_default_directory_and_no_other(settings, directory: Path) -> None:
    settings.SECRET_KEY = "of this test alone"
    for url, is_removed in ((f"local://{directory}", False), ("local://", True)):
        path = default_path() if url == "local://" else directory
        first, second = build(url), build(url)
        collect(first)
        received = collect(second)
        first.close()
        second.publish(make_messages(b"still there"))
        received.assert_received(b"still there")
        second.close()
        assert path.exists() is not is_removed


def test_a_listener_whose_socket_was_removed_binds_another(
    broker: LocalBroker, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.brokers.local.listener.IDLE_S", 0.05)
    received = collect(broker)
    for path in sockets(directory):
        path.unlink()
    assert_eventually(lambda: len(sockets(directory)) == 1, "another socket is bound")
    assert_eventually(lambda: received.missed_count > 0, "missed messages are reported")
    broker.publish(make_messages(b"again"))
    received.assert_received(b"again")


def test_a_listener_that_can_make_no_socket_tries_again(
    broker: LocalBroker, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoSocket(socket.socket):
        def __init__(self, *arguments: object) -> None:
            if not failed:
                failed.append(True)
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__(*arguments)  # type: ignore[arg-type]

    failed: list[bool] = []
    monkeypatch.setattr("telltale.brokers.local.listener.IDLE_S", 0.05)
    received = collect(broker)
    monkeypatch.setattr("telltale.brokers.local.listener.socket.socket", NoSocket)
    for path in sockets(directory):
        path.unlink()
    assert_eventually(lambda: failed and len(sockets(directory)) == 1, "another socket is bound")
    broker.publish(make_messages(b"again"))
    received.assert_received(b"again")


def test_f41_an_unreadable_datagram_is_reported_as_missed_and_the_listener_goes_on(
    broker: LocalBroker, directory: Path
) -> None:
    received = collect(broker)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other_program:
        other_program.sendto(b"not a bundle", str(sockets(directory)[0]))
    assert_eventually(lambda: received.missed_count == 1, "missed messages are reported")
    broker.publish(make_messages(b"goes on"))
    received.assert_received(b"goes on")


def test_a_closed_listener_removes_its_socket(broker: LocalBroker, directory: Path) -> None:
    received = Received()
    listen(broker, received.deliver, received.on_missed).close()
    assert sockets(directory) == []


@pytest.mark.parametrize("url", ["local://host/path", "local:///a?b=c", "local:///" + "x" * 120])
def test_an_invalid_url_is_refused_and_the_error_shows_a_valid_one(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="local:///run/mysite"):
        build(url)
