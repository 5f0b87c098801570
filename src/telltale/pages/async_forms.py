"""`accepted` and `ticket_for` for async views. Each runs in Django's thread for the synchronous code of the request."""

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from telltale.pages.accepted import accepted
from telltale.pages.permissions import PageTicket, ticket_for


async def aaccepted(
    request: HttpRequest, task: Any, *, next_url: str | None = None, wait: float = 0.0
) -> HttpResponseBase:
    """Return the response of a view that has started a task, as `telltale.accepted` does."""
    return await sync_to_async(accepted)(request, task, next_url=next_url, wait=wait)


async def aticket_for(request: HttpRequest, requested: Iterable[str]) -> PageTicket:
    """Return a ticket for the topics that the visitor may follow, as `telltale.ticket_for` does."""
    return await sync_to_async(ticket_for)(request, requested)
