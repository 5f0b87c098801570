"""A context processor: pages without scripts show a person's notices among the messages of `django.contrib.messages`.

It stands in for Django's own `messages`. A notice is taken when a template loops over `messages`, so each is shown once
over all pages, as toasts are. On pages with `{% telltale %}` scripts show the notices, and nothing is taken here.
"""

from collections.abc import Iterator
from typing import Any, Final

from django.contrib.messages import constants, get_messages
from django.contrib.messages.storage.base import Message
from django.http import HttpRequest
from django.utils.html import format_html

from telltale import store
from telltale.core.wire import Notice
from telltale.models import StoredNotice
from telltale.owners import Owner
from telltale.pages import catalogue
from telltale.pages.message_list import is_prefetch
from telltale.templatetags.telltale import has_scripts, safe_url

TAG: Final = "telltale"
"""The extra tag of a message that was a notice."""

LEVELS: Final = {
    "info": constants.INFO,
    "success": constants.SUCCESS,
    "warning": constants.WARNING,
    "error": constants.ERROR,
}


def messages(request: HttpRequest) -> dict[str, Any]:
    """Return `messages` and `DEFAULT_MESSAGE_LEVELS`, as Django's own context processor does."""
    return {"messages": PageMessages(request), "DEFAULT_MESSAGE_LEVELS": constants.DEFAULT_LEVELS}


class PageMessages:
    """Django's messages of this request, and then the person's waiting notices, the oldest first.

    The notices are read when a template asks how many there are, and taken when it loops over them.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._waiting: list[StoredNotice] | None = None
        self._taken: list[Message] | None = None

    def __iter__(self) -> Iterator[Message]:
        yield from get_messages(self._request)
        if self._taken is None:
            self._taken = [_message_of(notice) for notice in store.take_waiting(self._read())]
        yield from self._taken

    def __len__(self) -> int:
        notices = self._read() if self._taken is None else self._taken
        return len(get_messages(self._request)) + len(notices)

    def _read(self) -> list[StoredNotice]:
        if has_scripts(self._request) or is_prefetch(self._request):
            return []
        if self._waiting is None:
            self._waiting = store.read_waiting(Owner.of(self._request))
        return self._waiting


def _message_of(notice: Notice) -> Message:
    url, text = safe_url(notice.url), notice.text
    if url:
        text = format_html('{} <a href="{}">{}</a>', text, url, catalogue.message("open"))
    return Message(LEVELS.get(notice.level, constants.INFO), text, extra_tags=TAG)
