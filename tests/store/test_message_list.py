"""The list of a person's messages: complete, in order, theirs alone, and read again after they were seen."""

import pytest
from django.contrib.auth import get_user_model

from telltale import store
from telltale.core.topics import session_topic
from telltale.models import StoredNotice
from telltale.owners import Owner

pytestmark = pytest.mark.django_db

ADA = Owner(user_id=7)


def texts(listed: store.MessageList) -> list[str]:
    return [row.text for row in listed.messages]


def pages(owner: Owner, limit: int) -> list[list[str]]:
    """All pages of the list, as a reader follows them."""
    found, before, has_more = [], None, True
    while has_more:
        listed = store.list_messages(owner, before=before, limit=limit)
        found.append(texts(listed))
        # As in an address.
        before = listed.older and store.MessagePlace.parse(str(listed.older))
        has_more = before is not None
    return found


def test_a_message_that_was_seen_stays_in_the_list() -> None:
    notice = store.add_notice("user:7", "Hello")
    assert store.take_notice(notice.id, ["user:7"])
    [row] = store.list_messages(ADA).messages
    assert (row.text, row.shown_at is None) == ("Hello", False)


def test_the_pages_of_the_list_hold_each_message_once_and_the_newest_first_also_those_of_one_instant() -> None:
    for n in range(7):
        store.add_notice("user:7", f"{n}", now=100.25 + n // 3)
    found = pages(ADA, 2)
    assert [len(page) for page in found] == [2, 2, 2, 1]
    listed = [text for page in found for text in page]
    assert sorted(listed) == [f"{n}" for n in range(7)]
    assert [int(text) // 3 for text in listed] == [2, 1, 1, 1, 0, 0, 0]


def test_a_page_that_the_last_message_fills_says_that_there_are_no_older_ones() -> None:
    for n in range(4):
        store.add_notice("user:7", f"{n}", now=float(n))
    assert pages(ADA, 2) == [["3", "2"], ["1", "0"]]


def test_a_session_with_several_names_has_the_messages_of_all_in_one_order() -> None:
    for n, name in enumerate(["new", "old", "new", "old"]):
        store.add_notice(session_topic(name), f"{n}", now=float(n))
    assert pages(Owner(session="new", earlier_sessions=("old",)), 3) == [["3", "2", "1"], ["0"]]


def test_the_messages_of_others_are_not_listed_and_neither_are_any_for_a_visitor_without_a_session() -> None:
    store.add_notice("user:8", "for another")
    assert texts(store.list_messages(ADA)) == []
    assert texts(store.list_messages(Owner())) == []


@pytest.mark.parametrize("text", ["", "7", "x,y", "nan,6f1c3c6e-8e0b-4f3a-9a44-000000000000", "1.5,", "1e999,7"])
def test_a_text_that_is_no_place_in_the_list_is_recognised(text: str) -> None:
    assert store.MessagePlace.parse(text) is None


def test_a_listed_message_is_never_given_to_a_page_again_also_if_another_page_holds_it() -> None:
    held, free = store.add_notice("user:7", "held"), store.add_notice("user:7", "free")
    store.hold_notice(held.id, ["user:7"], "A", now=0.0)
    store.mark_listed(store.list_messages(ADA).messages, now=1.0)
    for notice in (held, free):
        assert store.hold_notice(notice.id, ["user:7"], "B", now=1_000.0) == store.NoticeHold(granted=False)
    assert store.take_notices("user:7", now=1_000.0) == []


def test_listing_a_message_again_does_not_change_when_it_was_seen() -> None:
    store.add_notice("user:7", "Hello")
    listed = store.list_messages(ADA).messages
    store.mark_listed(listed, now=1.0)
    store.mark_listed(listed, now=2.0)
    assert StoredNotice.objects.get().shown_at == 1.0


def test_at_a_sign_in_the_user_gets_the_messages_that_the_session_has_seen_too() -> None:
    user = get_user_model().objects.create_user("ada")
    seen = store.add_notice("session:s", "seen")
    store.take_notice(seen.id, ["session:s"])
    store.add_notice("session:s", "new")
    assert store.hand_over(["s"], user.pk)
    assert sorted(texts(store.list_messages(Owner(user_id=user.pk)))) == ["new", "seen"]
