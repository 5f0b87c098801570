"""The queue of one webhook target: batches and bounds."""

import json
import math

from telltale.pusher.server.hooks.events import HookEvent, client_event_data
from telltale.pusher.server.hooks.webhook_queue import BATCH_EVENTS, BATCH_S, QUEUE_BYTES, QUEUE_EVENTS, WebhookQueue


def events(number: int, **fields: str) -> list[HookEvent]:
    return [HookEvent(app_id="1", name="cache_miss", channel=f"room-{index}", **fields) for index in range(number)]


def test_a_batch_is_ready_a_quarter_of_a_second_after_its_first_event() -> None:
    """P68."""
    queue = WebhookQueue()
    assert queue.ready_at == math.inf
    queue.add(events(1), 10.0)
    queue.add(events(1), 10.2)
    assert queue.ready_at == 10.0 + BATCH_S


def test_a_full_batch_is_ready_at_once_and_holds_twenty_events_in_order() -> None:
    """P68."""
    queue = WebhookQueue()
    queue.add(events(BATCH_EVENTS + 3), 10.0)
    assert queue.ready_at == -math.inf
    assert [event.channel for event in queue.take().events] == [f"room-{index}" for index in range(BATCH_EVENTS)]
    assert queue.ready_at == 10.0 + BATCH_S
    assert len(queue.take().events) == 3
    assert len(queue) == 0


def test_the_oldest_events_are_dropped_when_too_many_wait() -> None:
    queue = WebhookQueue()
    assert queue.add(events(QUEUE_EVENTS), 10.0) == 0
    assert queue.add(events(2), 11.0) == 2
    assert queue.take().events[0].channel == "room-2"


def test_the_oldest_events_are_dropped_when_they_take_too_much_memory() -> None:
    queue = WebhookQueue()
    large = "x" * (QUEUE_BYTES // 4)
    assert queue.add(events(5, data=large), 10.0) == 2
    assert len(queue) == 3
    queue.take()
    assert queue.add(events(3, data=large), 10.0) == 0


def test_events_that_waited_too_long_are_dropped() -> None:
    queue = WebhookQueue()
    queue.add(events(2), 10.0)
    queue.add(events(1), 20.0)
    assert queue.drop_older(15.0) == 2
    assert queue.take().queued_at == 20.0


def test_a_body_has_the_fields_that_the_protocol_names_and_no_others() -> None:
    """P66, P67."""
    queue = WebhookQueue()
    queue.add(
        [
            HookEvent(app_id="1", name="channel_occupied", channel="room"),
            HookEvent(app_id="1", name="member_added", channel="presence-room", user_id="ada", user_info={"a": 1}),
            HookEvent(app_id="1", name="subscription_count", channel="room", subscription_count=0),
            HookEvent(
                app_id="1", name="client_event", channel="private-room", event="client-x", data="{}", socket_id="1.2"
            ),
        ],
        0.0,
    )
    assert json.loads(queue.take().body(1_700_000_000_000)) == {
        "time_ms": 1_700_000_000_000,
        "events": [
            {"name": "channel_occupied", "channel": "room"},
            {"name": "member_added", "channel": "presence-room", "user_id": "ada"},
            {"name": "subscription_count", "channel": "room", "subscription_count": 0},
            {"name": "client_event", "channel": "private-room", "event": "client-x", "data": "{}", "socket_id": "1.2"},
        ],
    }


def test_a_client_events_data_is_text_whatever_the_client_sent() -> None:
    """P67."""
    assert client_event_data("hello") == "hello"
    assert client_event_data({"yolo": "woot"}) == '{"yolo":"woot"}'
    assert client_event_data(None) == "null"
