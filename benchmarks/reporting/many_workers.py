"""1,000 worker processes on one Redis, as Redis sees them: a connection each, so many batches a second each.

A batch is what a worker with one moving task tells at one look: the snapshot for the task's channel and for its
owner's. Four listeners stand for web processes; each follows a quarter of the owners.
"""

import resource
import selectors
import socket
import time
import uuid
from dataclasses import dataclass

from tests.servers import Redis

WORKERS = 1_000
LISTENERS = 4
SECONDS = 5.0
BODY = b"x" * 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What Redis had to do, and what it took."""

    batches_per_s: float
    """Of each worker, as it was meant to be."""
    messages_per_s: float
    cpu_us_per_message: float
    core: float
    """Share of one core."""


def measured(redis: Redis, batches_per_s: float) -> Load:
    """Publish for `SECONDS`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * WORKERS)), hard))
    workers = [socket.create_connection(("127.0.0.1", redis.port)) for _ in range(WORKERS)]
    listeners = [socket.create_connection(("127.0.0.1", redis.port)) for _ in range(LISTENERS)]
    heard = selectors.DefaultSelector()
    for one in (*workers, *listeners):
        one.setblocking(False)
        heard.register(one, selectors.EVENT_READ)
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
            return publish(client, workers, batches, heard, batches_per_s)
    finally:
        heard.close()
        for one in (*workers, *listeners):
            one.close()


def publish(client, workers, batches, heard, batches_per_s: float) -> Load:  # type: ignore[no-untyped-def]
    """Each worker in its turn, evenly over each second."""
    cpu_before, said_before, began = *spent(client), time.perf_counter()
    sent, until = 0, began + SECONDS
    while (now := time.perf_counter()) < until:
        for _ in range(int((now - began) * batches_per_s * WORKERS) - sent):
            workers[sent % WORKERS].send(batches[sent % WORKERS])
            sent += 1
        for key, _events in heard.select(0.001):
            key.fileobj.recv(1_000_000)
    took_s = time.perf_counter() - began
    cpu_after, said_after = spent(client)
    messages = said_after - said_before
    return Load(
        batches_per_s=batches_per_s,
        messages_per_s=messages / took_s,
        cpu_us_per_message=(cpu_after - cpu_before) / messages * 1e6,
        core=(cpu_after - cpu_before) / took_s,
    )


def spent(client) -> tuple[float, int]:  # type: ignore[no-untyped-def]
    """Redis' seconds of CPU, and its PUBLISHes, so far."""
    cpu, calls = client.info("cpu"), client.info("commandstats").get("cmdstat_publish", {"calls": 0})
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"], calls["calls"]


def command(*words: bytes) -> bytes:
    """As Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
