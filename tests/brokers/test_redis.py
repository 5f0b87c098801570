"""The Redis broker's own promises: few connections, users with few rights, forks, exits, gevent, other drivers."""

import asyncio
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from telltale.brokers import build
from telltale.brokers.base import Broker, BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.line import open_line
from telltale.brokers.redis.subscription import Subscription
from telltale.brokers.redis.topology import places
from telltale.brokers.redis.url import Node, parse
from telltale.testing.brokers import Heard, eventually, hear, said
from tests.servers import Redis, SecureRedis, free_port, running

pytestmark = pytest.mark.service

Make = Callable[[str], Broker]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running(lambda directory: Redis(directory, None, "--unixsocket", str(directory / "socket"))) as server:
        yield server


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureRedis]:
    with running(SecureRedis) as server:
        yield server


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    # How long a busy machine takes to connect is not what is tested here.
    monkeypatch.setattr("telltale.brokers.redis.publisher.WAIT_S", 10.0)
    with ExitStack() as stack:

        def make(url: str) -> Broker:
            made = build(url)
            stack.callback(made.close)
            return made

        yield make


def run(script: str, *arguments: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SET_UP + script, *arguments],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SET_UP = """
import sys, threading, time
from django.conf import settings
from telltale.brokers.base import Message
def said(body): return [Message(("project:7",), body)]
"""


def test_a_process_has_one_connection_to_publish_and_one_to_listen(redis: Redis, make: Make) -> None:
    with redis.client() as admin:
        before = len(admin.client_list())
        broker = make(redis.url)
        heard = hear(broker)
        threads = [threading.Thread(target=broker.publish, args=(said(b"%d" % n),)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heard.until(*(b"%d" % n for n in range(20)))
        assert len(admin.client_list()) == before + 2
        broker.close()
        eventually(lambda: len(admin.client_list()) == before, "both are closed")


def test_it_begins_with_neither(redis: Redis, make: Make) -> None:
    with redis.client() as admin:
        before = len(admin.client_list())
        make(redis.url)
        assert len(admin.client_list()) == before


def test_a_unix_socket_will_do(redis: Redis, make: Make) -> None:
    url = f"unix://{redis.directory}/socket"
    heard = hear(make(url))
    make(url).publish(said(b"over a socket"))
    heard.until(b"over a socket")


def test_sites_of_different_prefixes_hear_nothing_of_each_other(redis: Redis, make: Make) -> None:
    ours, theirs = hear(make(f"{redis.url}?prefix=ours:")), hear(make(f"{redis.url}?prefix=theirs:"))
    make(f"{redis.url}?prefix=ours:").publish(said(b"ours"))
    make(f"{redis.url}?prefix=theirs:").publish(said(b"theirs"))
    ours.until(b"ours")
    theirs.until(b"theirs")
    assert (ours, theirs) == ([b"ours"], [b"theirs"])


def test_a_redis_that_is_not_there_is_said_at_once(make: Make) -> None:
    broker = make(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnavailable, match="refused"):
        hear(broker)
    with pytest.raises(BrokerUnavailable, match="refused"):
        broker.publish(said(b"lost"))
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(BrokerUnavailable):
            broker.publish(said(b"lost"))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("change", [("p%40ss", "wrong-secret"), ("telltale:", "nobody:")])
def test_a_wrong_password_is_told_without_it(
    secure: SecureRedis, make: Make, change: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    broker = make(secure.url.replace(*change))
    for do in (lambda: hear(broker), lambda: broker.publish(said(b"secret"))):
        with pytest.raises(BrokerUnavailable, match="username-password") as raised:
            do()
        assert "wrong-secret" not in str(raised.value)
        assert "p@ss" not in str(raised.value)
    assert "wrong-secret" not in caplog.text


def test_a_user_who_may_not_is_told_what_to_allow(secure: SecureRedis, make: Make) -> None:
    broker = make(secure.url.replace("prefix=mysite:", "prefix=another:"))
    for do in (lambda: hear(broker), lambda: broker.publish(said(b"secret"))):
        with pytest.raises(BrokerUnavailable, match=r"Allow the user what docs/brokers\.md lists"):
            do()


def test_rights_that_are_taken_away_are_an_outage_until_they_are_given_back(secure: SecureRedis, make: Make) -> None:
    heard, broker = hear(make(secure.url)), make(secure.url)
    broker.publish(said(b"before"))
    heard.until(b"before")
    with secure.client() as admin:
        admin.execute_command("ACL", "SETUSER", "telltale", "-publish")
        eventually(lambda: not can_publish(broker), "it is refused")
        admin.execute_command("ACL", "SETUSER", "telltale", "+publish")
    eventually(lambda: can_publish(broker), "it is allowed again")
    heard.until(b"again")


def can_publish(broker: Broker) -> bool:
    try:
        broker.publish(said(b"again"))
    except BrokerUnavailable:
        return False
    return True


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: SecureRedis, make: Make) -> None:
    with pytest.raises(BrokerUnavailable, match="certificate"):
        hear(make(f"rediss://localhost:{secure.tls_port}"))


def test_a_cluster_is_expected_only_where_there_is_one(redis: Redis, make: Make) -> None:
    with pytest.raises(BrokerUnavailable, match="Use redis:// for a server that is no cluster"):
        hear(make(f"redis+cluster://127.0.0.1:{redis.port}"))


def test_a_forked_child_has_lines_of_its_own(redis: Redis, make: Make) -> None:
    heard, broker = hear(make(redis.url)), make(redis.url)
    both = make(redis.url)
    also_heard = hear(both)
    broker.publish(said(b"before"))
    with warnings.catch_warnings():
        # Newer Pythons warn of threads at a fork, which is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            broker.publish(said(b"child"))
            both.publish(said(b"another child"))
            both.close()
            broker.close()
        finally:
            os._exit(0)
    for n in range(100):
        broker.publish(said(b"parent %d" % n))
    os.waitpid(child, 0)
    broker.publish(said(b"after"))
    everything = [b"before", b"child", b"another child", *(b"parent %d" % n for n in range(100)), b"after"]
    for each in (heard, also_heard):
        each.until(*everything)
        assert each.missed == 0


def test_what_was_said_before_an_exit_is_heard(redis: Redis, make: Make) -> None:
    heard = hear(make(redis.url))
    script = """
from telltale.brokers import broker
settings.TELLTALE = {"BROKER": sys.argv[1]}
for n in range(1000):
    broker().publish(said(b"%d" % n))
"""
    run(script, f"{redis.url}?prefix={parse(urlsplit(redis.url)).prefix}")
    heard.until(*(b"%d" % n for n in range(1000)))


GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent
from telltale import native
from telltale.brokers import build
heard, missed, failed = [], [], []
broker, other = build(sys.argv[1]), build(sys.argv[1])
def from_a_thread():
    try:
        listener = other.listen(heard.extend, missed.append)
        listener.follow(["project:7"])
        is_ready.append(True)
        for n in range(50):
            broker.publish(said(b"thread %d" % n))
            native.sleep(0.002)
    except BaseException as error:
        failed.append(error)
    has_ended.append(True)
def from_a_greenlet(name):
    for n in range(50):
        broker.publish(said(b"%d %d" % (name, n)))
        gevent.sleep(0.002)
is_ready, has_ended = [], []
gevent.sleep(0.01)
native.start_thread(from_a_thread, "thread")
while not is_ready and not failed: gevent.sleep(0.01)
gevent.joinall([gevent.spawn(from_a_greenlet, name) for name in range(5)], raise_error=True)
wanted = {b"thread %d" % n for n in range(50)} | {b"%d %d" % (name, n) for name in range(5) for n in range(50)}
until = time.monotonic() + 20
while not (has_ended and wanted <= set(heard)) and not failed and time.monotonic() < until: gevent.sleep(0.01)
other.close()
broker.close()
print("all" if wanted <= set(heard) else sorted(wanted - set(heard)), failed)
"""


@pytest.mark.parametrize("is_secure", [False, True])
def test_threads_and_greenlets_publish_under_gevent(redis: Redis, secure: SecureRedis, is_secure: bool) -> None:
    assert run(GEVENT, secure.url if is_secure else redis.url) == "all []\n"


@pytest.mark.parametrize("is_secure", [False, True])
def test_an_event_loop_may_drive_a_subscription_without_a_thread(
    redis: Redis, secure: SecureRedis, make: Make, is_secure: bool
) -> None:
    url = secure.url if is_secure else redis.url
    heard, broker = Heard(), make(url)

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        subscription = Subscription(places(parse(urlsplit(url))), Callbacks(heard.deliver, heard.miss), lambda: None)
        await asyncio.to_thread(subscription.connect)
        fence = subscription.follow(["project:7"])
        subscription.speak()

        def on_readable() -> None:
            subscription.hear()
            while subscription.due_s(time.monotonic()) == 0:
                subscription.hear()
            if len(heard) == 3_000:
                done.set()

        for fd in (line.fileno() for line in subscription.lines()):
            loop.add_reader(fd, on_readable)
        assert await asyncio.to_thread(fence.gate.wait, 20)
        await asyncio.to_thread(broker.publish, said(*(b"%d" % n + b"x" * 500 for n in range(3_000))))
        await asyncio.wait_for(done.wait(), 20)
        for fd in (line.fileno() for line in subscription.lines()):
            loop.remove_reader(fd)
        subscription.close()

    asyncio.run(main())


def test_redis_py_lets_its_socket_be_taken_over(redis: Redis, secure: SecureRedis) -> None:
    """The one thing that the broker knows of redis-py's insides."""
    plain = open_line(Node("127.0.0.1", redis.port), {}, ("PING",))
    address = parse(urlsplit(secure.url))
    signed_in = {"username": address.user, "password": address.password, **(address.tls or {})}
    encrypted = open_line(address.nodes[0], signed_in, ("PING",))
    for line in (plain, encrypted):
        line.queue(b"*2\r\n$4\r\nPING\r\n$5\r\nstill\r\n")
        line.send()
        replies: list[object] = []
        eventually(lambda replies=replies, line=line: bool(replies.extend(line.replies()) or replies), "it answers")
        assert replies == [b"still"]
        line.close()
