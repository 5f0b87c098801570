"""Notices: each is taken once, by a page that follows its topic."""

import pytest

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
