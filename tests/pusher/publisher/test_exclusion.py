"""Events that one connection does not receive."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import RequestFactory

import telltale
from telltale.pusher.publisher import excluding
from telltale.pusher.publisher.exclusion import excluded, is_socket_id
from tests.pusher.publisher.recorder import Recorder


@pytest.mark.parametrize("text", ["1.2", "123456789.987654321"])
def test_the_id_of_a_connection_is_two_numbers(text: str) -> None:
    assert is_socket_id(text)


@pytest.mark.parametrize("text", ["", "1", "1.", "1.2.3", "1.2\n", "x.1", "١.٢", None, 1.2, "1" * 99 + ".1"])
def test_nothing_else_is_the_id_of_a_connection(text: object) -> None:
    """P55."""
    assert not is_socket_id(text)


def test_a_request_is_excluded_by_its_header() -> None:
    with excluding(RequestFactory().get("/", headers={"X-Socket-ID": "12.34"})):
        assert excluded() == "12.34"
    assert excluded() is None


@pytest.mark.parametrize("headers", [{}, {"X-Socket-ID": ""}, {"X-Socket-ID": "undefined"}])
def test_a_request_without_a_valid_header_excludes_no_connection(headers: dict[str, str]) -> None:
    with excluding(RequestFactory().get("/", headers=headers)):
        assert excluded() is None


def test_an_invalid_id_is_an_error_with_the_mend() -> None:
    with pytest.raises(ValueError, match=r"pass an id such as '123\.456'"), excluding("page 7"):
        pass


def test_none_excludes_no_connection_within_another_context() -> None:
    with excluding("1.2"), excluding(None):
        assert excluded() is None


def test_the_context_reaches_code_that_async_views_call_in_threads() -> None:
    async def view() -> str | None:
        with excluding("1.2"):
            return await sync_to_async(excluded)()

    assert asyncio.run(view()) == "1.2"


@pytest.fixture
def pusher_settings(settings: Any, recorder: Recorder) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": recorder.url}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pusher_settings")
def test_events_carry_the_excluded_connection_and_later_ones_do_not(recorder: Recorder) -> None:
    """P55."""
    with excluding("12.34"):
        telltale.publish("project:7", "with")
    telltale.publish("project:7", "without")
    recorder.assert_received("with", "without")
    assert {event["name"]: event.get("socket_id") for event in recorder.events} == {"with": "12.34", "without": None}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pusher_settings")
def test_an_event_in_a_transaction_keeps_the_context_until_the_commit(recorder: Recorder) -> None:
    with transaction.atomic():
        with excluding("12.34"):
            telltale.publish("project:7", "committed")
        assert recorder.attempts == 0
    recorder.assert_received("committed")
    assert recorder.events[0]["socket_id"] == "12.34"
