"""The self-test: for staff alone, and its events reach those who hold its ticket."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from telltale import brokers
from telltale.core.wire import Envelope
from telltale.live import tickets
from telltale.testing.brokers import assert_eventually
from tests.factories import person

pytestmark = pytest.mark.django_db

TOPIC = "self-test:" + "0" * 32


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(person("grace", is_staff=True))
    return client


@pytest.fixture
def received() -> Iterator[list[Envelope]]:
    envelopes: list[Envelope] = []
    listener = brokers.broker().listen(
        lambda raw: envelopes.extend(map(Envelope.from_bytes, raw)), lambda _topics: None
    )
    yield envelopes
    listener.close()


def post(client: Client, body: Any) -> Any:
    return client.post(reverse("telltale:self_test"), json.dumps(body), content_type="application/json")


def test_only_staff_may_run_it(client: Client) -> None:
    url = reverse("telltale:self_test")
    assert client.get(url).status_code == 404
    client.force_login(person("ada"))
    assert (client.get(url).status_code, post(client, {"topic": TOPIC, "mark": 1}).status_code) == (404, 404)


def test_on_a_site_without_users_it_does_not_exist(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("AuthenticationMiddleware")]
    assert client.get(reverse("telltale:self_test")).status_code == 404


def test_in_development_anybody_may_run_it(client: Client, settings: Any) -> None:
    settings.DEBUG = True
    assert client.get(reverse("telltale:self_test")).status_code == 200


def test_its_ticket_is_for_its_own_topic_alone(staff: Client) -> None:
    data = staff.get(reverse("telltale:self_test")).context["data"]
    assert tickets.verify(data["ticket"]).topics == {data["topic"]}


@pytest.mark.django_db(transaction=True)
def test_a_post_publishes_an_event_with_its_mark_and_nothing_else(staff: Client, received: list[Envelope]) -> None:
    for body in [{"topic": "user:1", "mark": 1}, {"topic": TOPIC, "mark": "<b>"}, {"topic": f"{TOPIC}\n", "mark": 1}]:
        assert post(staff, body).status_code == 400
    assert [post(staff, body).status_code for body in ({}, [], None)] == [400, 400, 400]
    assert post(staff, {"topic": TOPIC, "mark": 7}).json() == {"published": 7}
    assert_eventually(lambda: len(received) == 1, "the event arrived")
    event = received[0].event
    assert event is not None
    assert (event.topic, event.name, event.data) == (TOPIC, "self-test", {"mark": 7})


def test_a_post_needs_the_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("grace", is_staff=True))
    assert post(client, {"topic": TOPIC, "mark": 1}).status_code == 403
