"""Clients of the live server that stop reading while much changes: their memory, their end, and the other clients."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from telltale import messages, store
from telltale.core import reasons
from telltale.core.wire import Envelope
from telltale.live import driver
from telltale.testing.transports import repeating
from tests.factories import started, task_of
from tests.transports.raw import Socket
from tests.transports.sites import ThreadSite, in_a_thread, wait_until
from tests.transports.slow import is_cut, masked, slow_socket, slow_stream

pytestmark = pytest.mark.service

TASKS = 100
LONG_TEXT = "x" * 1_500

BUFFERED_BYTES = 64 * 1_024 + 2 * 65_536 + 4_096
"""What one connection may buffer in this process: asyncio's limit, and a frame or two above it."""


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


@contextmanager
def all_tasks_change(topic: str) -> Iterator[None]:
    """A hundred tasks report long texts ten times a second: a quarter of a megabyte each time."""
    task = task_of()
    started(task)
    snapshot = store.read_tasks([task.pk])[0].snapshot
    assert snapshot is not None
    seqs = count(2)

    def report() -> None:
        seq = next(seqs)
        for number in range(TASKS):
            changed = replace(snapshot, id=f"{number:08}{snapshot.id[8:]}", seq=seq, error=LONG_TEXT)
            messages.announce([Envelope(topics=(topic,), snapshot=changed)])

    with repeating(report, 0.1):
        yield


def the_driver() -> driver.Driver:
    (running,) = (any_driver for any_driver in driver._drivers.values() if not any_driver._loop.is_closed())
    return running


class Reader(threading.Thread):
    """A client that reads all the time, and acknowledges."""

    def __init__(self, client: Socket) -> None:
        super().__init__()
        self.client, self.updates, self.is_stopped = client, 0, False

    def run(self) -> None:
        while (frame := self.client.frame()) is not None:
            data = bytes(frame.data)
            self.updates += data.startswith(b'{"type":"update"')
            number = int(data.partition(b'"n":')[2].partition(b",")[0] or 0)
            if self.is_stopped:
                return
            if number:
                self.client.send(_ack(number))


def _ack(number: int) -> bytes:
    return masked(b'{"type":"ack","n":%d}' % number)


@pytest.mark.parametrize("slow", [slow_socket, slow_stream])
def test_f33_a_client_that_stops_reading_costs_little_and_is_closed_and_others_are_unaffected(
    site: ThreadSite, slow: Any
) -> None:
    with Socket(site, "project:7") as good:
        reader = Reader(good)
        with slow(site, "project:7") as line:
            live_driver = the_driver()
            wait_until(lambda: live_driver.connection_count == 2, "both are connected")
            reader.start()
            most_buffered = 0

            def is_closed() -> bool:
                nonlocal most_buffered
                outlets = [connection.outlet for connection in list(live_driver._clients)]
                most_buffered = max(most_buffered, *(outlet._transport.get_write_buffer_size() for outlet in outlets))
                return live_driver.connection_count == 1

            with all_tasks_change("project:7"):
                wait_until(is_closed, "the slow client is closed", 120)
                before = reader.updates
                wait_until(lambda: reader.updates > before, "the other still receives updates")
                reader.is_stopped = True
                reader.join(20)
            assert is_cut(line)
    assert before > 0
    assert most_buffered <= BUFFERED_BYTES
    assert live_driver.counts[f"closed {reasons.SLOW.word}"] == 1
