"""The local broker's own promises: the private directory, dead and stopped listeners, other processes."""

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
from telltale.testing.brokers import Heard, eventually, hear, listen, said

OTHER = """
import sys, time
from pathlib import Path
from telltale.brokers.local.broker import LocalBroker
broker = LocalBroker(Path(sys.argv[1]))
heard = []
broker.listen(heard.extend, lambda topics: None)
print("listening", flush=True)
time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("l") / "s"


@pytest.fixture
def broker(directory: Path) -> Iterator[LocalBroker]:
    made = LocalBroker(directory)
    yield made
    made.close()


@pytest.fixture
def other(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process of the same site that listens."""
    process = subprocess.Popen([sys.executable, "-c", OTHER, str(directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


def sockets(directory: Path) -> list[Path]:
    return list(directory.glob("*.sock"))


def test_its_directory_is_for_its_user_alone(broker: LocalBroker, directory: Path) -> None:
    hear(broker)
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755])
def test_a_directory_that_others_may_enter_is_refused_with_the_mend(
    broker: LocalBroker, directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(BrokerUnavailable, match="chmod 700"):
        hear(broker)
    with pytest.raises(BrokerUnavailable, match="chmod 700"):
        broker.publish(said(b"a secret"))


def test_a_link_in_place_of_the_directory_is_refused(broker: LocalBroker, directory: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    directory.symlink_to(tmp_path)
    with pytest.raises(BrokerUnavailable, match="link"):
        hear(broker)
    with pytest.raises(BrokerUnavailable, match="link"):
        broker.publish(said(b"a secret"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_another_users_directory_is_refused(broker: LocalBroker, directory: Path) -> None:
    directory.mkdir(mode=0o700)
    os.chown(directory, 65_534, 65_534)
    with pytest.raises(BrokerUnavailable, match="belongs to the user 65534"):
        hear(broker)


def test_a_link_among_the_sockets_is_not_followed(broker: LocalBroker, directory: Path, tmp_path: Path) -> None:
    hear(broker)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(str(tmp_path / "trap.sock"))
        (directory / "ffffffff.sock").symlink_to(tmp_path / "trap.sock")
        broker.publish(said(b"a secret"))
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.recv(10_000)


def test_a_dead_listener_is_cleared_away(broker: LocalBroker, directory: Path, other: "subprocess.Popen[str]") -> None:
    heard = hear(broker)
    assert len(sockets(directory)) == 2
    other.kill()
    other.wait()
    broker.publish(said(b"one"))
    broker.publish(said(b"two"))
    heard.until(b"one", b"two")
    eventually(lambda: len(sockets(directory)) == 1, "the dead one's socket is gone")


def test_a_stopped_listener_delays_nobody(broker: LocalBroker, directory: Path, other: "subprocess.Popen[str]") -> None:
    heard = hear(broker)
    other.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    for n in range(200):
        broker.publish(said(f"{n}".encode()))
        time.sleep(0.001)
    assert time.monotonic() - began < 5
    eventually(lambda: heard[-1:] == [b"199"] or heard.missed > 0, "the other listener is served")


def test_two_sites_hear_nothing_of_each_other(tmp_path: Path) -> None:
    ours, theirs = LocalBroker(tmp_path / "a"), LocalBroker(tmp_path / "b")
    heard = hear(theirs)
    ours.publish(said(b"ours"))
    theirs.publish(said(b"theirs"))
    heard.until(b"theirs")
    assert heard == [b"theirs"]
    ours.close()
    theirs.close()


def test_sites_differ_by_secret_and_by_database(settings) -> None:
    here = default_path()
    settings.SECRET_KEY = "another site's"
    assert default_path() != here


def test_a_socket_that_somebody_swept_away_is_bound_again(
    broker: LocalBroker, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.brokers.local.listener.IDLE_S", 0.05)
    heard = hear(broker)
    for path in sockets(directory):
        path.unlink()
    eventually(lambda: len(sockets(directory)) == 1, "another socket is bound")
    eventually(lambda: heard.missed > 0, "it says that something may have been lost")
    broker.publish(said(b"again"))
    heard.until(b"again")


def test_a_stranger_in_the_directory_breaks_nothing(broker: LocalBroker, directory: Path) -> None:
    heard = hear(broker)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"not a bundle", str(sockets(directory)[0]))
    eventually(lambda: heard.missed == 1, "what can't be read counts as missed")
    broker.publish(said(b"goes on"))
    heard.until(b"goes on")


def test_a_closed_listener_leaves_no_socket(broker: LocalBroker, directory: Path) -> None:
    heard = Heard()
    listen(broker, heard.deliver, heard.miss).close()
    assert sockets(directory) == []


@pytest.mark.parametrize("url", ["local://host/path", "local:///a?b=c", "local:///" + "x" * 120])
def test_a_wrong_address_is_refused_with_the_mend(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="local:///run/mysite"):
        build(url)
