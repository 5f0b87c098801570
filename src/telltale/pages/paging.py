"""Lists of which each page begins after a place in their order: `?before=`, and the address of the next page."""

from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from telltale.core.wire import Malformed
from telltale.pages.responses import wants_page

Place = TypeVar("Place")


def requested_place(request: HttpRequest, parse: Callable[[str], Place | None]) -> Place | None:
    """Return the place after which the requested page begins; None for the first page.

    Raises `Malformed` if a program's text stands for no place. A person gets the first page then.
    """
    text = request.GET.get("before", "")
    place = parse(text) if text else None
    if text and place is None and not wants_page(request):
        raise Malformed(_("“before” is no place in the list. Follow the address in “older”."))
    return place


def url_after(view: str, place: object | None) -> str | None:
    """Return the address of the page after this place; None if there is none."""
    return f"{reverse(view)}?{urlencode({'before': str(place)})}" if place is not None else None
