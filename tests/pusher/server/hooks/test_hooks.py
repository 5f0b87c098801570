"""Hooks over the real membership of one process or several: webhooks arrive and receivers are called."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.dispatch import Signal

from telltale.pusher import signals
from telltale.pusher.protocol.user_data import Member
from telltale.pusher.pusher_apps import PusherApp, WebhookTarget
from telltale.pusher.server.hooks.hooks import SIGNALS, HooksRunner
from telltale.pusher.server.membership.changes import Change
from telltale.pusher.server.membership.membership import Membership
from telltale.pusher.server.membership.peers import EXPIRY_S
from telltale.testing.brokers import assert_eventually
from tests.pusher.server.hooks.webhook_receiver import Receiver

STEP_S = 0.25


class Process:
    """One process of the site: its membership and its hooks, which send to a receiver of its own."""

    def __init__(self, name: str, receiver: Receiver | None, *, is_alone: bool = False) -> None:
        self.membership = Membership(name, is_alone=is_alone)
        self.hooks = HooksRunner(self.membership)
        self.receiver = receiver
        webhooks = () if receiver is None else (WebhookTarget(url=receiver.url),)
        self.app = PusherApp(id="1", key="k1", secret="s1", webhooks=webhooks)

    def apply(self, changes: list[Change], now: float) -> None:
        if changes:
            self.hooks.on_changes(self.app, changes, now)

    def join(self, now: float, channel: str, user_id: str | None = None) -> None:
        member = None if user_id is None else Member(user_id, {"name": user_id})
        self.apply(self.membership.join("1", channel, member), now)

    def leave(self, now: float, channel: str, user_id: str | None = None) -> None:
        self.apply(self.membership.leave("1", channel, user_id), now)

    def heard(self) -> list[tuple[str, str]]:
        assert self.receiver is not None
        return [(event["name"], event.get("user_id", event["channel"])) for event in self.receiver.events]

    def assert_heard(self, *events: tuple[str, str]) -> None:
        """Wait for these events, and for a last one, so that no other event came in between."""
        self.hooks.cache_miss(self.app, "marker")
        assert_eventually(lambda: ("cache_miss", "marker") in self.heard(), "the marker has arrived")
        assert self.heard() == [*events, ("cache_miss", "marker")]


class Site:
    """Processes that hear each other, in simulated time."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.processes: list[Process] = []

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            for sender in self.processes:
                sender.apply(sender.membership.expire(self.now), self.now)
                for message in sender.membership.take_messages(self.now):
                    for process in self.processes:
                        process.apply(process.membership.receive(message, self.now), self.now)
            for process in self.processes:
                process.hooks.tick(self.now)


@pytest.fixture
def end_hooks() -> Iterator[Callable[[Process], Process]]:
    """Ends the threads of processes after the test."""
    processes: list[Process] = []

    def end_later(process: Process) -> Process:
        processes.append(process)
        return process

    yield end_later
    for process in processes:
        asyncio.run(process.hooks.close(1e9, is_last=False))


@pytest.fixture
def lone(receiver: Receiver, end_hooks: Callable[[Process], Process]) -> Process:
    return end_hooks(Process("a", receiver, is_alone=True))


@pytest.fixture
def site(make_receiver: Callable[[], Receiver], end_hooks: Callable[[Process], Process]) -> Site:
    """Two processes that know each other; the first leads."""
    site = Site()
    for name in ("a", "b"):
        site.processes.append(end_hooks(Process(name, make_receiver())))
        site.passes(5.0)
    assert [process.membership.is_leader for process in site.processes] == [True, False]
    return site


@contextmanager
def recorded(*wanted: Signal) -> Iterator[list[dict[str, Any]]]:
    """Record the arguments of these signals."""
    calls: list[dict[str, Any]] = []

    def record(signal: Signal, sender: object, **arguments: Any) -> None:
        calls.append(arguments)

    with ExitStack() as stack:
        for signal in wanted:
            signal.connect(record, weak=False)
            stack.callback(signal.disconnect, record)
        yield calls


# One process


def test_webhooks_tell_of_channels_and_members(lone: Process) -> None:
    """P67."""
    lone.join(0.0, "presence-room", "ada")
    lone.join(0.1, "presence-room", "ada")
    lone.leave(1.0, "presence-room", "ada")
    lone.hooks.tick(10.0)
    lone.leave(20.0, "presence-room", "ada")
    lone.hooks.tick(30.0)
    lone.assert_heard(
        ("channel_occupied", "presence-room"),
        ("member_added", "ada"),
        ("member_removed", "ada"),
        ("channel_vacated", "presence-room"),
    )


def test_a_client_event_is_a_webhook_with_its_sender(lone: Process, receiver: Receiver) -> None:
    """P67."""
    lone.hooks.client_event(
        lone.app, event="client-x", channel="presence-room", data={"a": 1}, socket_id="1.2", user_id="ada"
    )
    lone.hooks.client_event(
        lone.app, event="client-y", channel="private-room", data="text", socket_id="1.2", user_id=None
    )
    assert_eventually(lambda: len(receiver.events) == 2, "both have arrived")
    assert receiver.events == [
        {
            "name": "client_event",
            "channel": "presence-room",
            "event": "client-x",
            "data": '{"a":1}',
            "socket_id": "1.2",
            "user_id": "ada",
        },
        {"name": "client_event", "channel": "private-room", "event": "client-y", "data": "text", "socket_id": "1.2"},
    ]


def test_a_missed_cache_is_a_webhook(lone: Process, receiver: Receiver) -> None:
    """P67."""
    lone.hooks.cache_miss(lone.app, "cache-room")
    assert_eventually(lambda: receiver.events == [{"name": "cache_miss", "channel": "cache-room"}], "it has arrived")


def test_receivers_hear_of_channels_members_and_counts(end_hooks: Callable[[Process], Process]) -> None:
    process = end_hooks(Process("a", None, is_alone=True))
    process.app = PusherApp(id="1", key="k1", secret="s1", has_subscription_counts=True)
    with recorded(*SIGNALS.values()) as calls:
        process.join(0.0, "presence-room", "ada")
        process.leave(1.0, "presence-room", "ada")
        process.hooks.tick(10.0)
        process.join(11.0, "room")
        process.hooks.cache_miss(process.app, "cache-room")
        assert_eventually(lambda: len(calls) == 7, "all signals are received")
    ada = {"app_id": "1", "channel": "presence-room", "user_id": "ada"}
    assert calls == [
        {"app_id": "1", "channel": "presence-room"},
        {**ada, "user_info": {"name": "ada"}},
        {**ada, "user_info": None},
        {"app_id": "1", "channel": "presence-room"},
        {"app_id": "1", "channel": "room"},
        {"app_id": "1", "channel": "room", "subscription_count": 1},
        {"app_id": "1", "channel": "cache-room"},
    ]


def test_receivers_hear_of_client_events(lone: Process) -> None:
    with recorded(signals.client_event) as calls:
        lone.hooks.client_event(
            lone.app, event="client-x", channel="presence-room", data=[1], socket_id="1.2", user_id="ada"
        )
        assert_eventually(lambda: len(calls) == 1, "the signal is received")
    event = {"event": "client-x", "data": "[1]", "socket_id": "1.2", "user_id": "ada"}
    assert calls == [{"app_id": "1", "channel": "presence-room", **event}]


def test_receivers_hear_of_every_connection_that_joins_and_leaves(lone: Process) -> None:
    """reverb#60, sockudo#227."""
    with recorded(signals.channel_joined, signals.channel_left) as calls:
        lone.hooks.joined(lone.app, channel="room", socket_id="1.1")
        lone.hooks.joined(lone.app, channel="presence-room", socket_id="1.2", user_id="ada", user_info={"a": 1})
        lone.hooks.left(lone.app, channel="presence-room", socket_id="1.2", user_id="ada", user_info={"a": 1})
        assert_eventually(lambda: len(calls) == 3, "the signals are received")
    ada = {"app_id": "1", "channel": "presence-room", "socket_id": "1.2", "user_id": "ada", "user_info": {"a": 1}}
    assert calls == [
        {"app_id": "1", "channel": "room", "socket_id": "1.1", "user_id": None, "user_info": None},
        ada,
        ada,
    ]


@pytest.mark.parametrize("data", ["x", {"a": "ü"}])
def test_webhook_and_signal_have_the_same_data(lone: Process, receiver: Receiver, data: object) -> None:
    with recorded(signals.client_event) as calls:
        lone.hooks.client_event(
            lone.app, event="client-x", channel="private-room", data=data, socket_id="1.2", user_id=None
        )
        assert_eventually(lambda: len(calls) == len(receiver.events) == 1, "both are received")
    assert calls[0]["data"] == receiver.events[0]["data"]


# Several processes


def test_each_event_is_sent_once_for_the_site(site: Site) -> None:
    a, b = site.processes
    b.join(site.now, "presence-room", "ada")
    site.passes(1.0)
    a.join(site.now, "presence-room", "ada")
    site.passes(10.0)
    a.assert_heard(("channel_occupied", "presence-room"), ("member_added", "ada"))
    b.assert_heard()


def test_a_channel_is_not_vacated_while_others_remain_on_another_process(site: Site) -> None:
    """soketi#616."""
    a, b = site.processes
    a.join(site.now, "room")
    b.join(site.now, "room")
    site.passes(1.0)
    a.leave(site.now, "room")
    site.passes(60.0)
    assert ("channel_vacated", "room") not in a.heard()
    b.leave(site.now, "room")
    site.passes(10.0)
    a.assert_heard(("channel_occupied", "room"), ("channel_vacated", "room"))
    b.assert_heard()


def test_a_reload_that_reaches_another_process_fires_nothing(site: Site) -> None:
    """soketi#684."""
    a, b = site.processes
    a.join(site.now, "presence-room", "ada")
    site.passes(1.0)
    a.leave(site.now, "presence-room", "ada")
    site.passes(1.0)
    b.join(site.now, "presence-room", "ada")
    site.passes(60.0)
    a.assert_heard(("channel_occupied", "presence-room"), ("member_added", "ada"))
    b.assert_heard()


def test_another_process_takes_over_when_the_leader_is_killed(site: Site) -> None:
    a, b = site.processes
    a.join(site.now, "presence-room", "ada")
    site.passes(30.0)
    site.processes.remove(a)
    b.join(site.now, "presence-room", "bob")
    site.passes(EXPIRY_S + 10.0)
    assert b.membership.is_leader
    b.assert_heard(("member_added", "bob"), ("member_removed", "ada"))


def test_a_process_that_starts_later_sends_nothing_that_was_sent_before(site: Site, end_hooks: Any) -> None:
    a, b = site.processes
    a.join(site.now, "room")
    site.passes(1.0)
    assert b.receiver is not None
    late = end_hooks(Process("c", b.receiver))
    site.processes.append(late)
    late.join(site.now, "room")
    site.passes(30.0)
    site.processes.remove(a)
    site.passes(30.0)
    late.assert_heard()


# The end


def test_the_last_process_tells_of_vacated_channels_before_it_ends(lone: Process) -> None:
    lone.join(0.0, "room")
    lone.leave(1.0, "room")
    asyncio.run(lone.hooks.close(1.0, is_last=True))
    assert lone.heard() == [("channel_occupied", "room"), ("channel_vacated", "room")]


def test_a_process_that_is_not_the_last_leaves_vacated_channels_to_the_others(lone: Process) -> None:
    lone.join(0.0, "room")
    lone.leave(1.0, "room")
    asyncio.run(lone.hooks.close(1.0, is_last=False))
    assert lone.heard() == [("channel_occupied", "room")]
