"""The rights of a ticket end with the session, the password or the user that it was issued to."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.http import HttpRequest
from django.test import Client, RequestFactory
from pytest_django import DjangoAssertNumQueries

from telltale import store
from telltale.core.policy import Grant
from telltale.core.topics import user_topic
from telltale.live import rights, tickets
from telltale.pages.permissions import FOREIGN_TICKET_S, ticket_for
from tests.factories import asked_by, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Any:
    return person("ada")


def signed_in(user: Any) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def ticket_of(browser: Client, *topics: str) -> str:
    response = browser.post("/telltale/ticket/", json.dumps({"topics": topics}), "application/json")
    assert response.status_code == 200, response.content
    return str(response.json()["ticket"])


def has_ended(ticket: str) -> bool:
    bearer = tickets.verify(ticket).bearer
    assert bearer is not None
    return bool(rights.ended([bearer]))


def change_password(user: Any) -> None:
    user.set_password("new")
    user.save()


def deactivate(user: Any) -> None:
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def delete_user(user: Any) -> None:
    type(user).objects.filter(pk=user.pk).delete()


ENDS = [change_password, deactivate, delete_user]


@pytest.mark.parametrize("end", ENDS)
def test_the_rights_of_a_ticket_end_with_its_user_and_those_of_others_go_on(
    ada: Any, end: Callable[[Any], None]
) -> None:
    grace = person("grace")
    own, others = (ticket_of(signed_in(user), user_topic(user.pk)) for user in (ada, grace))
    assert not has_ended(own)
    end(ada)
    assert has_ended(own)
    assert not has_ended(others)


def take(browser: Client, ticket: str, notice: Any) -> Any:
    headers = {"Authorization": f"Bearer {ticket}"}
    return browser.post(f"/telltale/notices/{notice.id}/take/", "{}", "application/json", headers=headers)


@pytest.mark.parametrize("end", ENDS)
def test_s11_a_ticket_of_a_user_who_lost_the_rights_takes_no_notice_and_polls_nothing(
    ada: Any, end: Callable[[Any], None]
) -> None:
    browser = signed_in(ada)
    notice, ticket = store.add_notice(user_topic(ada.pk), "Ready"), ticket_of(browser, user_topic(ada.pk))
    end(ada)
    poll = Client().post("/telltale/live/", "{}", "application/json", headers={"Authorization": f"Bearer {ticket}"})
    for refusal in (take(browser, ticket, notice), poll):
        assert (refusal.status_code, refusal.json()["code"], refusal.json()["again"]) == (401, 4402, "at once")


def test_s11_after_a_sign_out_the_old_ticket_takes_no_notice_also_for_the_next_visitor(ada: Any) -> None:
    browser, topic = signed_in(ada), user_topic(ada.pk)
    first, second, ticket = store.add_notice(topic, "1"), store.add_notice(topic, "2"), ticket_of(browser, topic)
    assert take(browser, ticket, first).json() == {"granted": True}
    browser.logout()
    for visitor in (browser, signed_in(person("grace"))):
        assert take(visitor, ticket, second).json()["code"] == 4402
    browser.force_login(ada)
    assert take(browser, ticket, second).json() == {"granted": True}


def test_a_ticket_from_before_a_sign_in_goes_on(ada: Any) -> None:
    browser = Client()
    session = browser.session
    session["telltale_owner"] = "a" * 40
    session.save()
    topic = f"session:{'a' * 40}"
    ticket = ticket_of(browser, topic)
    browser.force_login(ada)
    assert take(browser, ticket, store.add_notice(topic, "Ready")).json() == {"granted": True}


def test_after_a_new_password_the_session_that_set_it_gets_a_ticket_that_holds(ada: Any) -> None:
    browser = signed_in(ada)
    old_ticket = ticket_of(browser, user_topic(ada.pk))
    change_password(ada)
    request = RequestFactory().get("/")
    request.session, request.user = browser.session, ada
    update_session_auth_hash(request, ada)
    assert has_ended(old_ticket)
    assert not has_ended(ticket_for(request, [user_topic(ada.pk)]).ticket)


def test_s13_rights_hold_through_a_new_secret_key(ada: Any, settings: Any) -> None:
    ticket = ticket_of(signed_in(ada), user_topic(ada.pk))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert not has_ended(ticket)
    change_password(ada)
    assert has_ended(ticket)


def test_a_ticket_shows_neither_the_key_of_its_session_nor_the_hash_in_it(ada: Any) -> None:
    browser = signed_in(ada)
    grant = tickets.verify(ticket_of(browser, user_topic(ada.pk)))
    key = str(browser.session.session_key)
    assert grant.session in rights.session_digests(browser.session)
    assert grant.bearer is not None
    assert grant.bearer.auth
    for secret in (key, ada.get_session_auth_hash()):
        assert secret[:8] not in repr(grant)


def test_a_program_with_a_token_keeps_its_rights_through_a_new_password_until_its_user_is_deactivated(
    ada: Any,
) -> None:
    ticket = ticket_for(asked_by(ada), [user_topic(ada.pk)]).ticket
    change_password(ada)
    assert not has_ended(ticket)
    deactivate(ada)
    assert has_ended(ticket)


def test_a_user_who_was_let_in_while_inactive_keeps_the_rights(ada: Any) -> None:
    ada.is_active = False
    ada.save()
    assert not has_ended(ticket_for(asked_by(ada), [user_topic(ada.pk)]).ticket)


def test_five_hundred_users_are_checked_by_one_query(
    ada: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    from telltale.core.policy import Bearer

    gone = {Bearer(user=str(10_000 + n), is_active=True) for n in range(rights.BATCH - 1)}
    present = Bearer(user=str(ada.pk), is_active=True)
    with django_assert_num_queries(1):
        assert rights.ended([present, *gone]) == gone


def shares_projects(request: HttpRequest, topic: str) -> bool:
    """The hook of the test's site."""
    return topic == "project:7"


def test_s10_what_the_hook_allows_is_asked_again_within_a_minute(ada: Any, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": f"{__name__}.shares_projects"}
    own, grants = user_topic(ada.pk), []
    for topics in ([own, "project:7"], [own]):
        page = ticket_for(asked_by(ada), topics)
        grants.append(tickets.verify(page.ticket))
        assert (page.topics, page.expires_at) == (frozenset(topics), grants[-1].expires_at)
    by_hook, by_owner = (seconds_of(grant) for grant in grants)
    assert by_hook <= FOREIGN_TICKET_S + 0.1 < by_owner


def seconds_of(grant: Grant) -> float:
    """For how long the ticket is valid; tickets hold the time of their issue in tenths of a second."""
    return grant.expires_at - grant.issued_at


def test_a_session_without_its_user_is_not_signed_in(ada: Any) -> None:
    request = RequestFactory().get("/")
    request.session = signed_in(ada).session
    assert rights.is_signed_in_as(request, str(ada.pk))
    del request.session[SESSION_KEY]
    assert not rights.is_signed_in_as(request, str(ada.pk))
