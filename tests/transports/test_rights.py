"""Connections end with the rights of their visitor, and other visitors' connections stay."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

import telltale
from telltale.core.topics import user_topic
from telltale.live import rights_checker
from tests.factories import person, task_of
from tests.live.test_rights import signed_in, ticket_of
from tests.transports.conftest import CLIENTS
from tests.transports.sites import Site, in_a_thread

pytestmark = pytest.mark.service

NEVER_S = 3_600.0


@pytest.fixture
def site(transactional_db: None) -> Iterator[Site]:
    with in_a_thread("live") as site:
        yield site


@pytest.fixture
def ada() -> Any:
    return person("ada")


def followed(site: Site, transport: str, browser: Client, user: Any) -> Any:
    client = CLIENTS[transport](site, ticket_of(browser, user_topic(user.pk)))
    client.message("hello")
    return client


def assert_goes_on(client: Any, user: Any) -> None:
    telltale.publish(user_topic(user.pk), "still", 1)
    assert client.until(lambda message: message.get("events") or message["type"] == "bye")["type"] != "bye"


def assert_only_the_first_ends(ended: Any, kept: Any, user: Any) -> None:
    bye = ended.message("bye")
    assert (bye["code"], bye["again"]) == (4402, "at once")
    assert_goes_on(kept, user)
    for client in (ended, kept):
        client.close()


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_s09_f57_a_sign_out_closes_the_connections_of_its_session_and_no_others(
    site: Site, ada: Any, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_checker, "PASS_S", NEVER_S)
    here, elsewhere = signed_in(ada), signed_in(ada)
    ended, kept = followed(site, transport, here, ada), followed(site, transport, elsewhere, ada)
    here.logout()
    assert_only_the_first_ends(ended, kept, ada)


def test_s09_a_sign_in_in_place_of_another_user_closes_the_connections_of_that_session_and_no_others(
    site: Site, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_checker, "PASS_S", NEVER_S)
    person("grace", is_staff=True)
    here, elsewhere = signed_in(ada), signed_in(ada)
    ended, kept = followed(site, "websocket", here, ada), followed(site, "sse", elsewhere, ada)
    assert here.post("/admin/login/?next=/", {"username": "grace", "password": "x"}).status_code == 302
    assert_only_the_first_ends(ended, kept, ada)


def test_s09_a_new_password_closes_the_connections_of_the_user_and_no_others(
    site: Site, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_checker, "PASS_S", NEVER_S)
    grace = person("grace")
    ended, kept = followed(site, "websocket", signed_in(ada), ada), followed(site, "sse", signed_in(grace), grace)
    ada.set_password("new")
    ada.save()
    assert_only_the_first_ends(ended, kept, grace)


def test_s09_rights_that_end_without_a_signal_are_noticed_by_the_regular_checks(
    site: Site, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_checker, "PASS_S", 0.5)
    grace = person("grace")
    ended, kept = followed(site, "websocket", signed_in(ada), ada), followed(site, "sse", signed_in(grace), grace)
    get_user_model().objects.filter(pk=ada.pk).update(is_active=False)
    assert_only_the_first_ends(ended, kept, grace)


@pytest.mark.parametrize("transport", ["websocket", "sse", "polling"])
def test_s11_an_old_ticket_whose_user_lost_the_rights_shows_nothing(
    site: Site, ada: Any, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_checker, "FRESH_S", -1.0)
    task_of(ada)
    ticket = ticket_of(signed_in(ada), user_topic(ada.pk))
    get_user_model().objects.filter(pk=ada.pk).update(is_active=False)
    client = CLIENTS[transport](site, ticket)
    assert client.message("bye")["code"] == 4402
    assert not any(message.get("tasks") for message in client.messages)
    client.close()
