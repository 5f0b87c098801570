"""1,000 worker processes on one Redis, as Redis sees them: a connection each, and a number of batches a second each.

A batch is what a worker with one moving task publishes at a time: the snapshot, in the task's channel and in its
owner's. Four listeners stand for web processes; each follows a quarter of the owners.
"""

import resource
import selectors
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers import Redis

WORKERS = 1_000
LISTENERS = 4
SECONDS = 5.0
BODY = b"x" * 600


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLoad:
    """The load, and the CPU time that it took."""

    batches_per_s: float
    """Of each worker, as intended."""
    messages_per_s: float
    """Of all workers, as measured."""
    cpu_us_per_message: float
    core_share: float


def measure(redis: Redis, batches_per_s: float) -> RedisLoad:
    """Publish for `SECONDS`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * WORKERS)), hard))
    workers = [socket.create_connection(("127.0.0.1", redis.port)) for _ in range(WORKERS)]
    listeners = [socket.create_connection(("127.0.0.1", redis.port)) for _ in range(LISTENERS)]
    readable = selectors.DefaultSelector()
    for connection in (*workers, *listeners):
        connection.setblocking(False)
        readable.register(connection, selectors.EVENT_READ)
    for n, listener in enumerate(listeners):
        channels = [b"user:%d" % owner for owner in range(n, WORKERS, LISTENERS)]
        listener.sendall(command(b"SUBSCRIBE", *channels))
    batches = [
        command(b"PUBLISH", b"task:%s" % str(uuid.uuid4()).encode(), BODY)
        + command(b"PUBLISH", b"user:%d" % owner, BODY)
        for owner in range(WORKERS)
    ]
    try:
        with redis.client() as client:
            return publish(client, workers, batches, readable, batches_per_s)
    finally:
        readable.close()
        for connection in (*workers, *listeners):
            connection.close()


def publish(
    client: Any,
    workers: Sequence[socket.socket],
    batches: Sequence[bytes],
    readable: selectors.BaseSelector,
    batches_per_s: float,
) -> RedisLoad:
    """Publish the workers' batches in turn, evenly over each second, and read all answers."""
    cpu_before_s, published_before = usage(client)
    began = time.perf_counter()
    sent, until = 0, began + SECONDS
    while (now := time.perf_counter()) < until:
        for _ in range(int((now - began) * batches_per_s * WORKERS) - sent):
            workers[sent % WORKERS].send(batches[sent % WORKERS])
            sent += 1
        for key, _events in readable.select(0.001):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.recv(1_000_000)
    took_s = time.perf_counter() - began
    cpu_after_s, published_after = usage(client)
    cpu_s, messages = cpu_after_s - cpu_before_s, published_after - published_before
    return RedisLoad(
        batches_per_s=batches_per_s,
        messages_per_s=messages / took_s,
        cpu_us_per_message=cpu_s / messages * 1e6,
        core_share=cpu_s / took_s,
    )


def usage(client: Any) -> tuple[float, int]:
    """Redis' CPU time in seconds, and its number of PUBLISH commands, since its start."""
    cpu, calls = client.info("cpu"), client.info("commandstats").get("cmdstat_publish", {"calls": 0})
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"], calls["calls"]


def command(*words: bytes) -> bytes:
    """A command in Redis' protocol."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
