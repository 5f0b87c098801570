"""Webhooks, received by a site and verified by the official libraries."""

import json
import time
from typing import Any

import pytest

from tests.pusher.clients.apps import FLAKY, HOOKED, MAIN
from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import AppSite, server_library
from tests.transports.sites import wait_until

HOOKS = "/hooks"


def test_a_webhook_is_verified_by_pythons_library(join: Join, site: AppSite, name: Name) -> None:
    """P66: key, signature of the raw body, and the time."""
    channel = name("news-")
    join(channel, app=HOOKED)
    site.hooked(HOOKS, name="channel_occupied", channel=channel)
    request = next(r for r in site.webhooks(HOOKS) if channel in r["body"])
    headers = {key.lower(): value for key, value in request["headers"].items()}
    assert headers["content-type"] == "application/json"
    assert headers["x-pusher-key"] == HOOKED.key
    library, signature = server_library(HOOKED), headers["x-pusher-signature"]
    webhook = library.validate_webhook(HOOKED.key, signature, request["body"])
    assert {"name": "channel_occupied", "channel": channel} in webhook["events"]
    assert abs(webhook["time_ms"] - time.time() * 1_000) < 120_000
    assert library.validate_webhook(HOOKED.key, signature, request["body"] + " ") is None
    assert server_library(MAIN).validate_webhook(HOOKED.key, signature, request["body"]) is None


def test_a_webhook_is_verified_by_nodes_library(join: Join, site: AppSite, node: Start, name: Name) -> None:
    """P66: which accepts `application/json` alone."""
    channel = name("news-")
    join(channel, app=HOOKED)
    site.hooked(HOOKS, name="channel_occupied", channel=channel)
    request = next(r for r in site.webhooks(HOOKS) if channel in r["body"])
    headers = {key.lower(): value for key, value in request["headers"].items()}
    library = node(app=HOOKED)
    webhook = library.call("webhook", headers=headers, body=request["body"])
    assert {"name": "channel_occupied", "channel": channel} in webhook["events"]
    assert library.call("webhook", headers=headers, body=request["body"].replace(channel, "x")) is None


def test_channels_become_occupied_and_vacated(join: Join, site: AppSite, name: Name) -> None:
    """P67: once each, by the first client and after the last."""
    channel = name("news-")
    first, second = join(channel, app=HOOKED), join(channel, app=HOOKED)
    first.close()
    second.close()
    site.hooked(HOOKS, name="channel_vacated", channel=channel)
    events = [e["name"] for e in site.hook_events(HOOKS, channel=channel) if e["name"] != "subscription_count"]
    assert events == ["channel_occupied", "channel_vacated"]


def test_members_are_added_and_removed(join: Join, site: AppSite, name: Name) -> None:
    """P67: once for each user."""
    channel = name("presence-")
    clients = [join(channel, user, HOOKED) for user in ("ada", "ada", "bob")]
    site.hooked(HOOKS, name="member_added", channel=channel, user_id="bob")
    for client in clients[:2]:
        client.close()
    site.hooked(HOOKS, name="member_removed", channel=channel, user_id="ada")
    members = [
        (event["name"], event["user_id"]) for event in site.hook_events(HOOKS, channel=channel) if "user_id" in event
    ]
    assert members == [("member_added", "ada"), ("member_added", "bob"), ("member_removed", "ada")]


def test_client_events_are_told(join: Join, site: AppSite, name: Name) -> None:
    """P67: with data, socket id, and the user of a presence channel."""
    private, presence = name("private-"), name("presence-")
    sender = join(private, app=HOOKED)
    sender.send("client-e", {"n": 1}, channel=private)
    event = site.hooked(HOOKS, name="client_event", channel=private)
    assert event["event"] == "client-e"
    assert event["socket_id"] == sender.socket_id
    assert json.loads(event["data"]) == {"n": 1}
    member = join(presence, "ada", HOOKED)
    member.send("client-e", "text", channel=presence)
    event = site.hooked(HOOKS, name="client_event", channel=presence)
    assert event["user_id"] == "ada"
    assert "user_id" not in site.hooked(HOOKS, name="client_event", channel=private)


def test_cache_misses_and_subscription_counts_are_told(join: Join, site: AppSite, name: Name) -> None:
    """P67."""
    channel = name("cache-")
    clients = [join(channel, app=HOOKED) for _ in range(2)]
    site.hooked(HOOKS, name="cache_miss", channel=channel)
    site.hooked(HOOKS, name="subscription_count", channel=channel, subscription_count=2)
    assert len(clients) == 2


def test_a_reload_of_a_page_fires_no_webhook(join: Join, connect: Connect, site: AppSite, name: Name, api: Any) -> None:
    """P68: the client is back before the settling time is over (a known fault of other servers)."""
    news, presence, last = name("news-"), name("presence-"), name("news-")
    before = join(presence, "ada", HOOKED, client=join(news, app=HOOKED))
    site.hooked(HOOKS, name="member_added", channel=presence)
    before.close()
    after = join(presence, "ada", HOOKED, client=join(news, app=HOOKED))
    join(last, app=HOOKED).close()
    site.hooked(HOOKS, name="channel_vacated", channel=last)  # It left later, so the others' time is over too.
    for channel in (news, presence):
        names = [e["name"] for e in site.hook_events(HOOKS, channel=channel)]
        assert set(names) - {"subscription_count"} <= {"channel_occupied", "member_added"}
        assert names.count("channel_occupied") == 1
    after.close()


def test_a_webhook_that_fails_is_sent_again(join: Join, site: AppSite, name: Name) -> None:
    """P68: with the same events, until the site accepts it."""
    path, channel = "/hooks/flaky", name("news-")
    site.statuses[path] = [500, 503]
    join(channel, app=FLAKY)
    site.hooked(path, name="channel_occupied", channel=channel)
    statuses = [request["status"] for request in site.webhooks(path) if channel in request["body"]]
    assert statuses == [500, 503, 200]


def test_many_events_come_in_few_webhooks_of_bounded_size(
    join: Join, connect: Connect, site: AppSite, name: Name
) -> None:
    """P68: at most 20 events in one."""
    prefix = name("many-") + "-"
    client = connect(HOOKED)
    for number in range(60):
        client.ask_for(f"{prefix}{number}")
    wanted = {f"{prefix}{number}" for number in range(60)}

    def told() -> set[str]:
        return {event["channel"] for event in site.hook_events(HOOKS, name="channel_occupied")}

    wait_until(lambda: wanted <= told(), "all channels are told as occupied")
    sizes = [len(json.loads(r["body"])["events"]) for r in site.webhooks(HOOKS) if prefix in r["body"]]
    assert max(sizes) <= 20
    assert len(sizes) < 60


def test_an_app_without_webhooks_sends_none(join: Join, main: Api, site: AppSite, name: Name) -> None:
    """P67: nothing leaks across apps."""
    channel, hooked = name("news-"), name("news-")
    join(channel, app=MAIN)
    join(hooked, app=HOOKED)
    site.hooked(HOOKS, name="channel_occupied", channel=hooked)
    assert site.hook_events(HOOKS, channel=channel) == []


@pytest.mark.parametrize("kind", ["news-", "private-", "presence-"])
def test_each_kind_of_channel_is_told(join: Join, site: AppSite, name: Name, kind: str) -> None:
    """P67."""
    channel = name(kind)
    join(channel, "ada" if kind == "presence-" else "", HOOKED)
    site.hooked(HOOKS, name="channel_occupied", channel=channel)
