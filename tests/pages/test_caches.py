"""Pages with a ticket are kept by no cache, unless the site has decided on caching itself."""

import asyncio
from collections.abc import Callable

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import AsyncRequestFactory, RequestFactory
from django.views.decorators.cache import cache_control, cache_page

import telltale
from telltale.owners import OwnerMiddleware

pytestmark = pytest.mark.django_db

PAGE = Template("{% load telltale %}<!doctype html>{% telltale %}")


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.render(Context({"request": request})))


def ticket(request: HttpRequest) -> HttpResponse:
    return HttpResponse(telltale.ticket_for(request, ["project:7"]).ticket)


def other(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("No ticket.")


def cache_header(view: Callable[[HttpRequest], HttpResponse], *, is_async: bool = False) -> str | None:
    request = (AsyncRequestFactory() if is_async else RequestFactory()).get("/")
    request.session = SessionStore()
    if is_async:

        async def respond(request: HttpRequest) -> HttpResponse:
            return await asyncio.to_thread(lambda: response)

        response = view(request)
        return asyncio.run(OwnerMiddleware(respond)(request)).get("Cache-Control")
    return OwnerMiddleware(view)(request).get("Cache-Control")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("view", [page, ticket])
def test_s25_a_response_with_a_ticket_is_not_stored(
    view: Callable[[HttpRequest], HttpResponse], is_async: bool
) -> None:
    assert cache_header(view, is_async=is_async) == "no-store, private"


def test_other_responses_stay_as_they_are() -> None:
    assert cache_header(other) is None


def test_what_the_site_says_of_caching_stands() -> None:
    assert cache_header(cache_control(max_age=60, private=True)(page)) == "max-age=60, private"
    assert cache_header(cache_page(60)(page)) == "max-age=60"


def test_a_cache_for_the_whole_site_goes_on_working(settings) -> None:
    settings.MIDDLEWARE = ["django.middleware.cache.UpdateCacheMiddleware", *settings.MIDDLEWARE]
    assert cache_header(page) is None
