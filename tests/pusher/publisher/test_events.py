"""The events that pages receive by a Pusher service."""

import json

import pytest
from pusher.crypto import encrypt

from telltale.core.states import State
from telltale.core.wire import Event
from telltale.messages import EVENT_BYTES
from telltale.pusher.publisher.events import (
    DATA_BYTES,
    ENCRYPTED_BYTES,
    UPDATE,
    UPDATE_BYTES,
    PusherEvent,
    UnsendableEvent,
    own_event,
    update_event,
    update_size,
)
from tests.pusher.publisher.envelopes import largest_snapshot, notice_of, snapshot_of


def test_an_update_is_the_message_of_the_same_name_of_our_own_protocol() -> None:
    snapshot, notice = snapshot_of(state=State.SUCCEEDED), notice_of()
    event = update_event("private-user-7", [snapshot, notice], now=1_790_000_000.1)
    assert (event.channel, event.name, event.socket_id) == ("private-user-7", UPDATE, None)
    assert json.loads(event.data) == {
        "type": "update",
        "n": 0,
        "now": 1_790_000_000.1,
        "tasks": [json.loads(snapshot.text)],
        "notices": [json.loads(notice.text)],
        "events": [],
    }


def test_a_sites_own_event_keeps_its_name_and_its_data() -> None:
    event = own_event("private-project-7", Event(topic="project:7", name="build.finished", data={"ok": "é"}), "1.2")
    assert event == ("private-project-7", "build.finished", '{"ok":"é"}', "1.2")


@pytest.mark.parametrize("character", ["x", "\\", "é", "🛫"])
def test_the_largest_snapshot_fits_into_an_event(character: str) -> None:
    """P57."""
    assert update_size(largest_snapshot(character)) <= UPDATE_BYTES
    assert len(update_event("c", [largest_snapshot(character)], now=1e9).data.encode()) <= DATA_BYTES


def test_the_largest_event_of_a_site_fits_into_an_event() -> None:
    """P57."""
    assert EVENT_BYTES < DATA_BYTES


def test_an_event_that_is_too_large_once_it_is_encrypted_is_an_error_with_the_mend() -> None:
    """P25, P57."""
    channel = "private-encrypted-letter-7"

    def event(data: str) -> PusherEvent:
        return own_event(channel, Event(topic="letter:7", name="written", data=data), None)

    largest = event("x" * (ENCRYPTED_BYTES - 2))
    assert len(json.dumps(encrypt(channel, largest.data, bytes(32)))) <= DATA_BYTES
    with pytest.raises(UnsendableEvent, match="at most 7,400 are allowed there: send a link or an id instead"):
        event("x" * (ENCRYPTED_BYTES - 1))


@pytest.mark.parametrize("name", ["x" * 201, "pusher:ping", "pusher_internal:x", "client-x", UPDATE])
def test_a_name_that_the_service_refuses_or_that_is_ours_is_an_error_with_the_mend(name: str) -> None:
    """P58."""
    with pytest.raises(UnsendableEvent, match="use a name of at most 200 characters"):
        own_event("private-project-7", Event(topic="project:7", name=name), None)
