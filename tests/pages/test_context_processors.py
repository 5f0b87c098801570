"""Notices among the messages of `django.contrib.messages`: on pages without scripts, each once, when they are shown."""

from typing import Any

import pytest
from django.contrib import messages as django_messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import Client
from django.urls import include, path

import telltale
from telltale import store
from telltale.models import StoredNotice
from telltale.owners import Owner

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

PAGES = {
    "plain": "{% for m in messages %}[{{ m.level_tag }}|{{ m.extra_tags }}|{{ m }}]{% endfor %}",
    "scripted": "{% load telltale %}{% telltale %}{% for m in messages %}[{{ m }}]{% endfor %}",
    "badge": "{% if messages %}{{ messages|length }} new{% endif %}",
    "twice": "{% for m in messages %}[{{ m }}]{% endfor %}{% for m in messages %}[{{ m }}]{% endfor %}",
}


def show(request: HttpRequest, name: str) -> HttpResponse:
    if "say" in request.GET:
        django_messages.info(request, request.GET["say"])
    return render(request, name)


urlpatterns = [path("pages/<name>", show), path("telltale/", include("telltale.urls"))]


@pytest.fixture(autouse=True)
def _templates(settings: Any) -> None:
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", PAGES)],
                "context_processors": [
                    "django.template.context_processors.request",
                    "telltale.context_processors.messages",
                ],
            },
        }
    ]


def shown(client: Client, name: str = "plain", **more: Any) -> str:
    return client.get(f"/pages/{name}", **more).content.decode()


def unseen() -> int:
    return StoredNotice.objects.filter(shown_at=None).count()


def test_the_next_page_shows_a_notice_once_after_the_sites_own_messages(ada: Any, signed_in: Client) -> None:
    telltale.notify(ada, "Report <ready>", level="success", url="/reports/7/")
    text = shown(signed_in, data={"say": "Saved"})
    assert text == ('[info||Saved][success|telltale|Report &lt;ready&gt; <a href="/reports/7/">Open</a>]')
    assert (shown(signed_in), unseen()) == ("", 0)
    assert len(store.list_messages(Owner.of(ada)).messages) == 1  # and it can be read again


def test_a_notice_is_not_shown_here_while_another_page_holds_it_or_after_one_has_shown_it(
    ada: Any, signed_in: Client
) -> None:
    topic = f"user:{ada.pk}"
    held, taken = telltale.notify(ada, "held"), telltale.notify(ada, "taken")
    store.hold_notice(held.id, [topic], "another page")
    store.take_notice(taken.id, [topic])
    assert shown(signed_in) == ""
    assert unseen() == 1


def test_a_page_that_shows_no_messages_takes_none_also_if_it_says_how_many_there_are(
    ada: Any, signed_in: Client
) -> None:
    telltale.notify(ada, "One")
    telltale.notify(ada, "Two")
    assert shown(signed_in, "badge") == "2 new"
    assert unseen() == 2


def test_a_page_whose_scripts_show_notices_leaves_them_to_the_scripts(ada: Any, signed_in: Client) -> None:
    telltale.notify(ada, "One")
    assert "[One]" not in shown(signed_in, "scripted")
    assert unseen() == 1


def test_a_page_that_loops_twice_shows_the_same_messages_twice(ada: Any, signed_in: Client) -> None:
    telltale.notify(ada, "One")
    assert shown(signed_in, "twice") == "[One][One]"


def test_a_page_fetched_in_advance_takes_none(ada: Any, signed_in: Client) -> None:
    telltale.notify(ada, "One")
    assert shown(signed_in, headers={"Sec-Purpose": "prefetch"}) == ""
    assert unseen() == 1


def test_of_more_notices_than_fit_on_a_page_the_newest_come_first_and_the_others_on_the_next(
    ada: Any, signed_in: Client
) -> None:
    for n in range(52):
        telltale.notify(ada, f"{n}")
    assert shown(signed_in).startswith("[info|telltale|2][info|telltale|3]")
    assert unseen() == 2
    assert shown(signed_in) == "[info|telltale|0][info|telltale|1]"


def test_a_visitor_without_a_session_has_only_the_sites_messages() -> None:
    assert shown(Client(), data={"say": "Saved"}) == "[info||Saved]"
