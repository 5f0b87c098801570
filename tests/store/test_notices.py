"""Notices: each is taken once, by a page that follows its topic; held until the page confirms it, or given back."""

from functools import partial

import pytest
from django.contrib.auth import get_user_model

from telltale import store
from tests.store.factories import run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_many_pages_that_take_a_notice_one_may_show_it() -> None:
    notice = store.add_notice("user:7", "Hello")
    results = run_at_once(*[lambda: store.take_notice(notice.id, ["user:7"])] * 6)
    assert results.count(True) == 1


def test_a_notice_is_taken_only_by_a_page_that_follows_its_topic() -> None:
    notice = store.add_notice("user:7", "Hello")
    assert not store.take_notice(notice.id, ["user:8"])
    assert not store.take_notice("nonsense", ["user:7"])
    assert store.take_notice(notice.id, ["user:7"])


def test_of_many_pages_that_want_to_hold_a_notice_one_may_show_it() -> None:
    notice = store.add_notice("user:7", "Hello")
    results = run_at_once(*[partial(store.hold_notice, notice.id, ["user:7"], f"page {n}") for n in range(6)])
    assert [hold.granted for hold in results].count(True) == 1
    assert all(0 < hold.seconds <= store.HELD_S for hold in results)


def test_a_notice_that_was_confirmed_is_never_given_to_another_page() -> None:
    notice = store.add_notice("user:7", "Hello")
    assert store.hold_notice(notice.id, ["user:7"], "A", now=0.0).granted
    assert store.confirm_notice(notice.id, ["user:7"], "A", now=1.0)
    for instant in (2.0, 1_000.0):
        for page in ("A", "B"):
            assert store.hold_notice(notice.id, ["user:7"], page, now=instant) == store.NoticeHold(granted=False)
    assert not store.take_notice(notice.id, ["user:7"], now=1_000.0)
    assert store.take_notices("user:7", now=1_000.0) == []


def test_a_notice_that_was_not_confirmed_is_given_back_and_shown_once_later() -> None:
    notice = store.add_notice("user:7", "Hello")
    store.hold_notice(notice.id, ["user:7"], "A", now=0.0)
    refused = store.hold_notice(notice.id, ["user:7"], "B", now=4.0)
    assert (refused.granted, refused.seconds) == (False, store.HELD_S - 4.0)
    assert not store.take_notice(notice.id, ["user:7"], now=4.0)
    assert store.take_notices("user:7", now=4.0) == []
    assert store.hold_notice(notice.id, ["user:7"], "B", now=store.HELD_S).granted
    assert not store.hold_notice(notice.id, ["user:7"], "A", now=store.HELD_S + 1).granted
    assert store.confirm_notice(notice.id, ["user:7"], "B", now=store.HELD_S + 1)
    assert not store.hold_notice(notice.id, ["user:7"], "A", now=store.HELD_S * 3).granted


def test_a_page_whose_answer_was_lost_asks_again_and_holds_the_notice_at_once() -> None:
    notice = store.add_notice("user:7", "Hello")
    for instant in (0.0, 1.0):
        hold = store.hold_notice(notice.id, ["user:7"], "A", now=instant)
        assert (hold.granted, hold.seconds) == (True, store.HELD_S)
    assert not store.hold_notice(notice.id, ["user:7"], "B", now=store.HELD_S + 0.5).granted


@pytest.mark.parametrize("is_held_by_another", [False, True])
def test_a_confirmation_that_arrives_after_the_notice_was_given_back_counts(is_held_by_another: bool) -> None:
    notice = store.add_notice("user:7", "Hello")
    store.hold_notice(notice.id, ["user:7"], "A", now=0.0)
    late = store.HELD_S + 1
    if is_held_by_another:
        assert store.hold_notice(notice.id, ["user:7"], "B", now=late).granted
    assert store.confirm_notice(notice.id, ["user:7"], "A", now=late)
    for instant in (late, late * 10):
        assert not store.hold_notice(notice.id, ["user:7"], "C", now=instant).granted
    assert not store.confirm_notice(notice.id, ["user:7"], "B", now=late)


def test_a_page_confirms_what_it_has_shown_also_after_its_visitor_has_signed_in() -> None:
    notice = store.add_notice("session:s", "Hello")
    store.hold_notice(notice.id, ["session:s"], "A")
    user = get_user_model().objects.create(username="ada")
    assert store.hand_over(["s"], user.pk)
    assert not store.confirm_notice(notice.id, ["session:s"], "another page")
    assert store.confirm_notice(notice.id, ["session:s"], "A")


def test_a_notice_is_held_and_confirmed_only_by_a_page_that_follows_its_topic() -> None:
    notice = store.add_notice("user:7", "Hello")
    assert store.hold_notice(notice.id, ["user:8"], "A") == store.NoticeHold(granted=False)
    assert store.hold_notice("nonsense", ["user:7"], "A") == store.NoticeHold(granted=False)
    assert not store.confirm_notice(notice.id, ["user:8"], "A")
    assert not store.confirm_notice("nonsense", ["user:7"], "A")
    assert store.take_notice(notice.id, ["user:7"])


def test_a_hold_does_not_outlive_a_clock_that_was_put_back() -> None:
    notice = store.add_notice("user:7", "Hello")
    store.hold_notice(notice.id, ["user:7"], "A", now=1_000.0)
    assert store.hold_notice(notice.id, ["user:7"], "B", now=970.0).granted
