"""The Redis broker over a real server: its connections, rights of users, forks, exits, gevent, event loops."""

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from redis import Redis as Client

from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.address import Node, parse
from telltale.brokers.redis.broker import RedisBroker
from telltale.brokers.redis.connection import open_connection
from telltale.brokers.redis.subscription import Subscription
from telltale.brokers.redis.topology import build_topology
from telltale.testing.brokers import Received, assert_eventually, collect, make_messages
from tests.brokers.factory import MakeBroker, broker_factory
from tests.brokers.loop_broker import running_loop
from tests.brokers.processes import PATCH_BY_GEVENT, PUBLISH_UNDER_GEVENT, run_process
from tests.brokers.publishing import assert_failing_at_once, try_to_publish
from tests.servers import Redis, SecureRedis, free_port, running

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(lambda directory: Redis(directory, None, "--unixsocket", str(directory / "socket"))) as server:
        yield server


@pytest.fixture(scope="module")
def secure_redis() -> Iterator[SecureRedis]:
    with running(SecureRedis) as server:
        yield server


@pytest.fixture
def make_broker(redis: Redis) -> Iterator[MakeBroker]:
    with broker_factory(redis.url) as make_broker:
        yield make_broker


def wait_for_connections(admin: Client, number: int) -> None:
    """Wait until there are so many, `admin` included: Redis may not have noticed yet that others were closed."""
    assert_eventually(lambda: len(admin.client_list()) == number, f"there are {number} connections")


def test_a_process_has_one_connection_to_publish_and_one_to_listen(redis: Redis, make_broker: MakeBroker) -> None:
    with redis.client() as admin:
        wait_for_connections(admin, 1)
        broker = make_broker()
        received = collect(broker)
        threads = [threading.Thread(target=broker.publish, args=(make_messages(b"%d" % n),)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        received.assert_received(*(b"%d" % n for n in range(20)))
        assert len(admin.client_list()) == 3
        broker.close()
        wait_for_connections(admin, 1)


def test_building_a_broker_opens_no_connection(redis: Redis, make_broker: MakeBroker) -> None:
    with redis.client() as admin:
        wait_for_connections(admin, 1)
        make_broker()
        assert len(admin.client_list()) == 1


def test_messages_are_received_over_a_unix_socket(redis: Redis, make_broker: MakeBroker) -> None:
    url = f"unix://{redis.directory}/socket"
    received = collect(make_broker(url))
    make_broker(url).publish(make_messages(b"over a socket"))
    received.assert_received(b"over a socket")


def test_sites_with_different_prefixes_receive_nothing_of_each_other(redis: Redis, make_broker: MakeBroker) -> None:
    our_url, their_url = f"{redis.url}?prefix=ours:", f"{redis.url}?prefix=theirs:"
    ours, theirs = collect(make_broker(our_url)), collect(make_broker(their_url))
    make_broker(our_url).publish(make_messages(b"ours"))
    make_broker(their_url).publish(make_messages(b"theirs"))
    ours.assert_received(b"ours")
    theirs.assert_received(b"theirs")
    assert (ours, theirs) == ([b"ours"], [b"theirs"])


def test_without_a_server_listening_and_publishing_fail_at_once(make_broker: MakeBroker) -> None:
    broker = make_broker(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnavailable, match="refused"):
        collect(broker)
    with pytest.raises(BrokerUnavailable, match="refused"):
        broker.publish(make_messages(b"lost"))
    assert_failing_at_once(broker)


@pytest.mark.parametrize("change", [("p%40ss", "wrong-secret"), ("telltale:", "nobody:")])
def test_the_error_for_wrong_credentials_does_not_show_them(
    secure_redis: SecureRedis, make_broker: MakeBroker, change: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker(secure_redis.url.replace(*change))
    for action in (lambda: collect(broker), lambda: broker.publish(make_messages(b"secret"))):
        with pytest.raises(BrokerUnavailable, match="username-password") as raised:
            action()
        assert "wrong-secret" not in str(raised.value)
        assert "p@ss" not in str(raised.value)
    assert "wrong-secret" not in caplog.text


def test_the_error_for_a_user_without_rights_says_what_to_allow(
    secure_redis: SecureRedis, make_broker: MakeBroker
) -> None:
    broker = make_broker(secure_redis.url.replace("prefix=mysite:", "prefix=another:"))
    for action in (lambda: collect(broker), lambda: broker.publish(make_messages(b"secret"))):
        with pytest.raises(BrokerUnavailable, match=r"Allow the user what docs/brokers\.md lists"):
            action()


def test_publishing_fails_without_the_right_and_works_again_with_it(
    secure_redis: SecureRedis, make_broker: MakeBroker
) -> None:
    received, broker = collect(make_broker(secure_redis.url)), make_broker(secure_redis.url)
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    with secure_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "telltale", "-publish")
        assert_eventually(lambda: not try_to_publish(broker, b"again"), "publishing is refused")
        admin.execute_command("ACL", "SETUSER", "telltale", "+publish")
    assert_eventually(lambda: try_to_publish(broker, b"again"), "publishing works again")
    received.assert_received(b"again")


def test_a_user_without_the_right_to_ask_for_the_role_can_publish(
    secure_redis: SecureRedis, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.brokers.redis.sender.ROLE_EVERY_S", 0.0)
    received, broker = collect(make_broker(secure_redis.url)), make_broker(secure_redis.url)
    for number in range(20):
        broker.publish(make_messages(b"%d" % number))
    received.assert_received(*(b"%d" % number for number in range(20)))


def test_an_untrusted_certificate_is_refused(secure_redis: SecureRedis, make_broker: MakeBroker) -> None:
    with pytest.raises(BrokerUnavailable, match="certificate"):
        collect(make_broker(f"rediss://localhost:{secure_redis.tls_port}"))


def test_the_error_for_a_cluster_url_without_a_cluster_says_which_scheme_to_use(
    redis: Redis, make_broker: MakeBroker
) -> None:
    with pytest.raises(BrokerUnavailable, match="Use redis:// for a server that is no cluster"):
        collect(make_broker(f"redis+cluster://127.0.0.1:{redis.port}"))


def test_f45_a_forked_child_opens_its_own_connections(make_broker: MakeBroker) -> None:
    received, publisher = collect(make_broker()), make_broker()
    publisher_and_listener = make_broker()
    also_received = collect(publisher_and_listener)
    publisher.publish(make_messages(b"before"))
    with warnings.catch_warnings():
        # Newer Pythons warn of threads at a fork, which is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            publisher.publish(make_messages(b"child"))
            publisher_and_listener.publish(make_messages(b"another by the child"))
            publisher_and_listener.close()
            publisher.close()
        finally:
            os._exit(0)
    for n in range(100):
        publisher.publish(make_messages(b"parent %d" % n))
    os.waitpid(child, 0)
    publisher.publish(make_messages(b"after"))
    by_parent = [b"before", *(b"parent %d" % n for n in range(100)), b"after"]
    for messages in (received, also_received):
        messages.assert_received(*by_parent, b"child", b"another by the child")
        assert messages.missed_count == 0


def test_f45_a_forked_child_holds_no_connection_of_a_listener_on_an_event_loop_open(redis: Redis) -> None:
    with redis.client() as admin, running_loop() as loop:
        wait_for_connections(admin, 1)
        broker = RedisBroker(parse(urlsplit(redis.url)))
        listener = broker.listen_on(loop, lambda _bodies: None, lambda _topics: None)
        listener.follow(["project:7"])
        wait_for_connections(admin, 2)
        read_end, write_end = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os.close(write_end)
            os.read(read_end, 1)  # Returns when the parent has closed its end.
            os._exit(0)
        try:
            broker.close()
            wait_for_connections(admin, 1)
        finally:
            os.close(write_end)
            os.close(read_end)
            os.waitpid(child, 0)


SET_UP = """
import sys, threading, time
from django.conf import settings
from telltale.brokers.base import Message
from telltale.brokers.redis import connection, listener, publisher, sender, topology
connection.CONNECT_TIMEOUT_S = topology.CONNECT_TIMEOUT_S = publisher.PUBLISH_TIMEOUT_S = 30.0  # For slow machines.
sender.ANSWER_TIMEOUT_S = listener.FOLLOW_TIMEOUT_S = 30.0
def make_messages(body): return [Message(("project:7",), body)]
"""


def test_messages_published_just_before_a_process_ends_are_received(redis: Redis, make_broker: MakeBroker) -> None:
    received = collect(make_broker())
    code = """
from telltale.brokers import broker
settings.TELLTALE = {"BROKER": sys.argv[1], "SIGN_MESSAGES": False}
for n in range(1000):
    broker().publish(make_messages(b"%d" % n))
"""
    run_process(SET_UP + code, f"{redis.url}?prefix={parse(urlsplit(redis.url)).prefix}")
    received.assert_received(*(b"%d" % n for n in range(1000)))


@pytest.mark.parametrize("is_secure", [False, True])
def test_f46_threads_and_greenlets_publish_under_gevent(
    redis: Redis, secure_redis: SecureRedis, is_secure: bool
) -> None:
    code = PATCH_BY_GEVENT + SET_UP + "url = sys.argv[1]" + PUBLISH_UNDER_GEVENT
    assert run_process(code, secure_redis.url if is_secure else redis.url) == "all []\n"


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_subscription_runs_on_an_event_loop_without_a_thread(
    redis: Redis, secure_redis: SecureRedis, make_broker: MakeBroker, is_secure: bool
) -> None:
    url = secure_redis.url if is_secure else redis.url
    received, broker = Received(), make_broker(url)
    callbacks = Callbacks(received.deliver, received.on_missed)

    async def main() -> None:
        loop, all_received = asyncio.get_running_loop(), asyncio.Event()
        subscription = Subscription(build_topology(parse(urlsplit(url))), callbacks, wake=lambda: None)
        await asyncio.to_thread(subscription.connect)
        barrier = subscription.follow(["project:7"])
        subscription.send()

        def on_readable() -> None:
            subscription.receive()
            while subscription.due_s(time.monotonic()) == 0:
                subscription.receive()
            if len(received) == 3_000:
                all_received.set()

        descriptors = [connection.fileno() for connection in subscription.connections()]
        for descriptor in descriptors:
            loop.add_reader(descriptor, on_readable)
        assert await asyncio.to_thread(barrier.passed.wait, 40)
        await asyncio.to_thread(broker.publish, make_messages(*(b"%d" % n + b"x" * 500 for n in range(3_000))))
        await asyncio.wait_for(all_received.wait(), 40)
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
        subscription.close()

    asyncio.run(main())


def test_the_socket_of_a_redis_py_connection_can_be_taken_over(redis: Redis, secure_redis: SecureRedis) -> None:
    """The broker depends on one private attribute of redis-py."""
    plain = open_connection(Node("127.0.0.1", redis.port), {}, ("PING",))
    address = parse(urlsplit(secure_redis.url))
    options = {"username": address.user, "password": address.password, **(address.tls or {})}
    encrypted = open_connection(address.nodes[0], options, ("PING",))
    for connection in (plain, encrypted):
        connection.queue(b"*2\r\n$4\r\nPING\r\n$5\r\nstill\r\n")
        connection.send()
        replies: list[object] = []
        assert_eventually(
            lambda replies=replies, connection=connection: bool(replies.extend(connection.replies()) or replies),
            "the server answers",
        )
        assert replies == [b"still"]
        connection.close()
