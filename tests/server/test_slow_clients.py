"""Clients of the live server who stop reading while much moves: what they cost, how they end, and who notices."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from telltale import messages, store
from telltale.core import reasons
from telltale.core.wire import Envelope
from telltale.live import driver
from tests.factories import started, task_of
from tests.transports.raw import Socket
from tests.transports.sites import ThreadSite, in_a_thread, until
from tests.transports.slow import is_cut, masked, slow_socket, slow_stream

pytestmark = pytest.mark.service

TASKS = 100
WORDS = "x" * 1_500

BUFFERED_BYTES = 64 * 1_024 + 2 * 65_536 + 4_096
"""What a line may hold in this process: asyncio's limit, and a frame or two beyond it."""


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


@contextmanager
def all_moves(topic: str) -> Iterator[None]:
    """A hundred tasks report ten times a second, at length: a quarter of a megabyte each time."""
    task = task_of()
    started(task)
    snapshot = store.read_tasks([task.pk])[0].snapshot
    assert snapshot is not None
    over = threading.Event()

    def move() -> None:
        seq = 1
        while not over.wait(0.1):
            seq += 1
            for number in range(TASKS):
                here = replace(snapshot, id=f"{number:08}{snapshot.id[8:]}", seq=seq, error=WORDS)
                messages.announce([Envelope(topics=(topic,), snapshot=here)])

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def the_driver() -> driver.Driver:
    (one,) = (one for one in driver._drivers.values() if not one._loop.is_closed())
    return one


class Reader(threading.Thread):
    """Somebody who does read, all the time."""

    def __init__(self, client: Socket) -> None:
        super().__init__()
        self.client, self.updates, self.over = client, 0, False

    def run(self) -> None:
        while (frame := self.client.frame()) is not None:
            data = bytes(frame.data)
            self.updates += data.startswith(b'{"type":"update"')
            number = int(data.partition(b'"n":')[2].partition(b",")[0] or 0)
            if self.over:
                return
            if number:
                self.client.says(_ack(number))


def _ack(number: int) -> bytes:
    return masked(b'{"type":"ack","n":%d}' % number)


@pytest.mark.parametrize("slow", [slow_socket, slow_stream])
def test_who_stops_reading_costs_little_is_ended_and_harms_nobody(site: ThreadSite, slow: Any) -> None:
    with Socket(site, "project:7") as good:
        reader = Reader(good)
        with slow(site, "project:7") as line:
            one = the_driver()
            until(lambda: one.connection_count == 2, "both are there")
            reader.start()
            most = 0

            def has_gone() -> bool:
                nonlocal most
                outlets = [connection.outlet for connection in list(one._seats)]
                most = max(most, *(outlet._transport.get_write_buffer_size() for outlet in outlets))
                return one.connection_count == 1

            with all_moves("project:7"):
                until(has_gone, "the slow one has gone", 50)
                before = reader.updates
                until(lambda: reader.updates > before, "the other hears on")
                reader.over = True
                reader.join(20)
            assert is_cut(line)
    assert before > 0
    assert most <= BUFFERED_BYTES
    assert one.counts[f"closed {reasons.SLOW.word}"] == 1
