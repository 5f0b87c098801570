"""Tickets grant what the server signed, until they expire; anything else is refused."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core import reasons
from telltale.core.topics import InvalidTopic, task_topic
from telltale.live import tickets
from tests.factories import unknown_id

NOW = 1_790_000_000.0


def test_a_ticket_grants_what_it_was_issued_for() -> None:
    text = tickets.issue(["task:1", "user:7"], follower="user:7", ttl_s=60, now=NOW)
    grant = tickets.verify(text, now=NOW + 59)
    assert (grant.topics, grant.follower, grant.expires_at) == ({"task:1", "user:7"}, "user:7", NOW + 60)


def test_s12_an_expired_ticket_has_its_own_reason_so_that_the_client_fetches_another() -> None:
    text = tickets.issue(["task:1"], ttl_s=60, now=NOW)
    with pytest.raises(tickets.TicketRefused) as refusal:
        tickets.verify(text, now=NOW + 60)
    assert refusal.value.reason is reasons.EXPIRED


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é" * 50, ":::", "." * 20_000])
def test_s12_a_malformed_ticket_is_refused(text: str) -> None:
    with pytest.raises(tickets.TicketRefused) as refusal:
        tickets.verify(text, now=NOW)
    assert refusal.value.reason is reasons.NO_TICKET


@given(position=st.integers(min_value=0), character=st.sampled_from(string.ascii_letters + string.digits + "-_:."))
def test_s12_a_ticket_with_one_changed_character_is_refused(position: int, character: str) -> None:
    text = tickets.issue(["user:7"], now=NOW)
    position %= len(text)
    changed = text[:position] + character + text[position + 1 :]
    if changed == text:
        return
    with pytest.raises(tickets.TicketRefused):
        tickets.verify(changed, now=NOW)


def test_s12_data_signed_for_another_purpose_is_refused() -> None:
    from django.core import signing

    fields = {"t": ["user:7"], "f": "", "e": NOW + 60}
    with pytest.raises(tickets.TicketRefused):
        tickets.verify(signing.dumps(fields), now=NOW)


def test_s13_a_ticket_holds_while_its_key_is_a_fallback_and_no_longer(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old", []
    text = tickets.issue(["user:7"], now=NOW)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    assert tickets.verify(text, now=NOW).topics == {"user:7"}
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(tickets.TicketRefused):
        tickets.verify(text, now=NOW)


def test_a_ticket_for_the_most_topics_fits_into_a_header() -> None:
    topics = [task_topic(unknown_id()) for _ in range(tickets.MAX_TOPICS)]
    text = tickets.issue(topics, now=NOW)
    assert len(text) < 8_000
    assert tickets.verify(text, now=NOW).topics == set(topics)


def test_issuing_a_ticket_for_too_many_topics_raises_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"201 topics .* at most 200 fit\. Follow the owner's topic"):
        tickets.issue([f"project:{n}" for n in range(201)], now=NOW)


def test_issuing_a_ticket_for_a_malformed_topic_raises() -> None:
    with pytest.raises(InvalidTopic):
        tickets.issue(["everything"], now=NOW)


def test_a_ticket_for_a_reserved_topic_is_refused_with_the_fix() -> None:
    with pytest.raises(InvalidTopic, match=r"is reserved: .* Use a topic of another kind, such as 'project:7'"):
        tickets.issue(["telltale:cancellations"], now=NOW)
