"""A program that publishes what it likes on the site's channels, to a web process and its clients."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telltale.core.policy import ConnectionPolicy
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope, Event
from telltale.live import incoming, tickets
from telltale.live.broker_feed import BrokerFeed
from telltale.live.driver import close_driver, driver
from telltale.messages import announce
from tests.factories import ended, started, task_of

TOPIC = "project:7"
GENUINE = Envelope(topics=(TOPIC,), event=Event(topic=TOPIC, name="x", data=1)).to_bytes()


class Page:
    """A client's outlet, which keeps what is written."""

    form: Callable[[str], str] = str

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    def write(self, text: str) -> None:
        self.messages.append(json.loads(text))
        self._changed.set()

    def end(self) -> None:
        """The connection was closed."""

    async def has(self, count: int, name: str) -> None:
        """Return once so many items have come."""
        async with asyncio.timeout(30):
            while len(self.of(name)) < count:
                self._changed.clear()
                await self._changed.wait()

    def of(self, name: str) -> list[Any]:
        return [item for message in self.messages for item in message.get(name, ())]


def delivered(*messages: bytes) -> list[Envelope]:
    """What a feed makes of these messages of its broker."""
    envelopes: list[Envelope] = []

    async def receive() -> None:
        feed = BrokerFeed(asyncio.get_running_loop(), envelopes.extend, envelopes.extend, lambda _topics: None)
        feed._receive_on_loop(messages)
        feed._receive_in_thread(messages)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(receive())
    return envelopes


TEXTS = st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
HEADS = st.tuples(
    st.sampled_from([b"snapshot", b"event", b"notice", b"cancel", b"other"]),
    st.sampled_from([b"a", b"-", b"", b"\xff"]),
    st.integers().map(b"%d".__mod__) | st.just(b"9" * 5_000),
    st.sampled_from([b"0", b"1", b"x"]),
    st.integers().map(b"%d".__mod__),
    st.sampled_from([TOPIC.encode(), b"task:a", b"", b"user:7 " * 50]),
).map(b" ".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(HEADS, TEXTS).map(lambda parts: b"t1 %b\n%b" % parts) | TEXTS, max_size=5))
def test_s47_f41_no_message_ends_the_turn_that_delivers_the_genuine_ones(messages: list[bytes]) -> None:
    envelopes = delivered(*messages, GENUINE)
    assert envelopes.count(Envelope.from_bytes(GENUINE)) == 2
    for envelope in envelopes:
        json.loads(envelope.text)  # The page can read it.


def test_s47_messages_that_cant_be_used_are_counted_and_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    before = incoming.unusable.total
    huge = GENUINE + b" " * 20_000
    with caplog.at_level(logging.WARNING):
        assert delivered(*[b"t1 snapshot a 1 0 1 task:a\n{broken", b"x", huge] * 100) == []
    assert incoming.unusable.total - before == 600
    assert sum("malformed messages" in record.message for record in caplog.records) <= 1


@pytest.mark.django_db(transaction=True)
def test_a_forged_attempt_or_end_is_gone_from_a_connected_page_after_the_next_read(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "RECHECK_S": 0.5}
    running, done = task_of(), task_of()
    started(running)
    ended(started(done))
    ids = [str(running.pk), str(done.pk)]
    topics = [f"task:{task}" for task in ids]
    lies = [
        Envelope(topics=(topic,), snapshot=Snapshot(id=task, attempt=10**9, seq=0, state=State.SUCCEEDED))
        for topic, task in zip(topics, ids, strict=True)
    ]
    page = Page()

    async def follow() -> None:
        live_driver = driver()
        client = live_driver.open(ConnectionPolicy(credit=None), page)
        client.admit(tickets.issue(topics))
        await page.has(2, "tasks")
        live_driver._feed._receive_on_loop([lie.to_bytes() for lie in lies])
        await page.has(2, "corrected")
        client.leave()
        await close_driver()

    asyncio.run(follow())
    assert {task["attempt"] for task in page.of("tasks")[2:4]} == {10**9}
    assert sorted(page.of("corrected")) == sorted(ids)
    assert sorted((task["id"], task["attempt"], task["state"]) for task in page.of("tasks")[4:6]) == sorted(
        [(ids[0], 1, "running"), (ids[1], 1, "succeeded")]
    )


@pytest.mark.django_db(transaction=True)
def test_s47_an_end_on_a_shared_broker_without_signatures_is_shown_only_if_the_store_has_it(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "telltale.brokers.memory.MemoryBroker", "RECHECK_S": 3_600.0}
    running, done = task_of(), task_of()
    claim = started(done)
    started(running)
    forged = Snapshot(id=str(running.pk), attempt=1, seq=10**6, state=State.SUCCEEDED)
    page = Page()

    def end() -> None:
        ended(claim)
        connections.close_all()

    async def follow() -> None:
        live_driver = driver()
        client = live_driver.open(ConnectionPolicy(credit=None), page)
        client.admit(tickets.issue([f"task:{running.pk}", f"task:{done.pk}"]))
        await page.has(2, "tasks")
        announce([Envelope(topics=(f"task:{running.pk}",), snapshot=forged)])
        # What is published later is heard later.
        await asyncio.to_thread(end)
        await page.has(3, "tasks")
        client.leave()
        await close_driver()

    asyncio.run(follow())
    states = [(task["id"], task["state"]) for task in page.of("tasks")[2:]]
    assert (str(done.pk), "succeeded") in states
    assert (str(running.pk), "succeeded") not in states
