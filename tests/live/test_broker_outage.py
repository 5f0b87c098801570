"""A broker that is down: the database is read as often as without a broker, and health and metrics say so."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from telltale import brokers, messages
from telltale.brokers.base import Reach
from telltale.core.policy import ConnectionPolicy
from telltale.live import tickets
from telltale.live.driver import Driver, close_driver, driver
from telltale.server.status import metrics_text, status_json
from tests.live.test_hostile_publisher import Page
from tests.servers import Redis, running

pytestmark = [pytest.mark.service, pytest.mark.django_db(transaction=True)]

TOPIC = "project:7"


def metrics(live_driver: Driver) -> dict[str, float]:
    families = text_string_to_metric_families(metrics_text(live_driver))
    return {sample.name: sample.value for family in families for sample in family.samples}


async def eventually(is_true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not is_true():  # noqa: ASYNC110 (another thread changes it)
            await asyncio.sleep(0.05)


def test_f13_while_redis_is_down_the_reach_is_nowhere_and_health_and_metrics_say_so(settings: Any) -> None:
    with running(Redis) as redis:
        settings.TELLTALE = {**settings.TELLTALE, "BROKER": redis.url, "RECHECK_S": None}
        page = Page()

        async def follow() -> None:
            live_driver = driver()
            client = live_driver.open(ConnectionPolicy(credit=None), page)
            client.admit(tickets.issue([TOPIC]))
            await eventually(lambda: live_driver.reach is Reach.SITE)
            before = metrics(live_driver)
            await asyncio.to_thread(messages.publish, TOPIC, "x", 1)
            await page.has(1, "events")
            assert status_json(live_driver)["broker"] == "works"
            after = metrics(live_driver)
            for name in ("published", "received"):
                assert after[f"telltale_broker_{name}_total"] > before[f"telltale_broker_{name}_total"]
            assert after["telltale_broker_up"] == 1

            await asyncio.to_thread(redis.stop, signal.SIGKILL)
            await eventually(lambda: live_driver.reach is Reach.NOWHERE)
            assert brokers.recheck_s(live_driver.reach) == 2
            health = status_json(live_driver)
            assert (health["broker"], health["broker_reaches"]) == ("out of order", "nowhere")
            down = metrics(live_driver)
            assert down["telltale_broker_up"] == 0
            assert down["telltale_broker_outages_total"] > before["telltale_broker_outages_total"]

            await asyncio.to_thread(redis.start)
            await eventually(lambda: live_driver.reach is Reach.SITE)
            await eventually(
                lambda: metrics(live_driver)["telltale_broker_gaps_total"] > before["telltale_broker_gaps_total"]
            )
            assert (metrics(live_driver)["telltale_broker_up"], status_json(live_driver)["broker"]) == (1, "works")
            client.leave()
            await close_driver()

        asyncio.run(follow())


def test_a_broker_that_could_never_be_reached_is_out_of_order(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": "redis://127.0.0.1:1"}

    async def follow() -> None:
        live_driver = driver()
        client = live_driver.open(ConnectionPolicy(credit=None), Page())
        client.admit(tickets.issue([TOPIC]))
        await eventually(lambda: live_driver.is_broker_down)
        assert live_driver.reach is Reach.NOWHERE
        client.leave()
        await close_driver()

    asyncio.run(follow())
