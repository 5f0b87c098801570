"""A page that stays open for long: what it gives up, its connection, the hub and the broker give up too.

The page's own modules run in node, on a real server of the live protocols, with a real Redis as broker.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import override_settings

from telltale.live import driver
from telltale.testing.brokers import assert_eventually
from tests.docs.test_api_clients import has_socket
from tests.factories import ended, started, task_of
from tests.servers import ROOT, Redis, running
from tests.transports.sites import in_a_thread

pytestmark = pytest.mark.service

KEPT = "project:7"
PAGE_S = 500
"""A page that takes longer on a busy machine has stopped."""


def anyone(_request: HttpRequest, _topic: str) -> bool:
    return True


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.mark.parametrize(("transport", "count"), [("websocket", 1_000), ("sse", 50), ("polling", 50)])
@pytest.mark.django_db(transaction=True)
def test_a_page_that_follows_tasks_one_after_another_keeps_none_of_them(
    settings: Any, redis: Redis, transport: str, count: int
) -> None:
    hook = f"{__name__}.{anyone.__name__}"
    more = {"BROKER": redis.url, "CAN_FOLLOW": hook, "RECHECK_S": 1}
    ids = [str(task_of().pk) for _ in range(count - count // 10)]
    for _ in range(count // 10):
        task = task_of()
        ended(started(task))
        ids.insert(0, str(task.pk))
    with override_settings(TELLTALE=settings.TELLTALE | more), in_a_thread("live") as site:
        flags = [] if has_socket() else ["--experimental-websocket"]
        command = ["node", *flags, "tests/live/long_life.js", site.url, transport, KEPT]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as page:
            assert page.stdin is not None
            assert page.stdout is not None
            watchdog = threading.Timer(PAGE_S, page.kill)
            watchdog.start()
            try:
                page.stdin.write("\n".join([*ids, "that is all", ""]))
                page.stdin.flush()
                result = json.loads(page.stdout.readline())
                assert (result["seen"], result["refused"]) == (count, [])
                # One that was followed a moment ago may still be in the ticket.
                assert result["mostTopics"] <= 3
                [live_driver] = driver._drivers.values()
                assert_eventually(lambda: live_driver.hub.topics == {KEPT}, "the hub has forgotten the tasks")
                with redis.client() as admin:
                    assert_eventually(
                        lambda: not any(b":task:" in channel for channel in admin.pubsub_channels()),
                        "Redis has forgotten the tasks",
                    )
                if transport == "websocket":  # Others open new connections, and say what the page has.
                    assert [connection.newest for connection in live_driver.hub.connections] == [{}]
            finally:
                watchdog.cancel()
                page.stdin.close()
                page.wait()
