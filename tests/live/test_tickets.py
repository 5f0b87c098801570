"""Tickets say what the server said, for as long as it said, and nothing else is believed."""

import string

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


def test_a_ticket_that_has_run_out_is_told_apart_so_that_the_client_fetches_another() -> None:
    text = tickets.issue(["task:1"], ttl_s=60, now=NOW)
    with pytest.raises(tickets.Refused) as refusal:
        tickets.verify(text, now=NOW + 60)
    assert refusal.value.reason is reasons.EXPIRED


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é" * 50, ":::", "." * 20_000])
def test_a_malformed_ticket_is_no_ticket(text: str) -> None:
    with pytest.raises(tickets.Refused) as refusal:
        tickets.verify(text, now=NOW)
    assert refusal.value.reason is reasons.NO_TICKET


@given(at=st.integers(min_value=0), by=st.sampled_from(string.ascii_letters + string.digits + "-_:."))
def test_a_ticket_with_one_character_changed_is_no_ticket(at: int, by: str) -> None:
    text = tickets.issue(["user:7"], now=NOW)
    at %= len(text)
    changed = text[:at] + by + text[at + 1 :]
    if changed == text:
        return
    with pytest.raises(tickets.Refused):
        tickets.verify(changed, now=NOW)


def test_what_is_signed_for_another_purpose_is_no_ticket() -> None:
    from django.core import signing

    said = {"t": ["user:7"], "f": "", "e": NOW + 60}
    with pytest.raises(tickets.Refused):
        tickets.verify(signing.dumps(said), now=NOW)


def test_a_ticket_holds_its_many_topics_in_less_than_a_header_may_be_long() -> None:
    many = [task_topic(unknown_id()) for _ in range(tickets.MAX_TOPICS)]
    text = tickets.issue(many, now=NOW)
    assert len(text) < 8_000
    assert tickets.verify(text, now=NOW).topics == set(many)


def test_a_ticket_for_too_many_topics_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match=r"201 topics .* at most 200 fit: follow the owner's topic"):
        tickets.issue([f"project:{n}" for n in range(201)], now=NOW)


def test_a_ticket_for_what_is_no_topic_is_refused() -> None:
    with pytest.raises(InvalidTopic):
        tickets.issue(["everything"], now=NOW)
