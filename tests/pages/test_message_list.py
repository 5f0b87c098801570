"""The page of a visitor's messages: readable without scripts, seen when opened, and only by its visitor."""

import re
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client, RequestFactory

import telltale
from telltale import store
from telltale.core.topics import user_topic
from telltale.models import StoredNotice
from tests.factories import ended, person, started, task_of

pytestmark = pytest.mark.django_db

URL = "/telltale/messages/"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROGRAM = "application/json"


def page(client: Client, path: str = URL, **headers: str) -> str:
    response = client.get(path, headers={"Accept": BROWSER, **headers})
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    return response.content.decode()


def get_json(client: Client, path: str = URL) -> Any:
    return client.get(path, headers={"Accept": PROGRAM})


def listed(text: str) -> list[str]:
    """The texts of the messages in a page."""
    return re.findall(r'<li class="telltale-message"[^>]*>\s*<p>([^<]*?) ?(?:<a|</p>)', text)


def unseen() -> int:
    return StoredNotice.objects.filter(shown_at=None).count()


def test_the_page_lists_messages_newest_first_with_their_links_and_marks_the_new_ones(
    ada: Any, signed_in: Client
) -> None:
    seen = telltale.notify(ada, "First", level="error")
    assert store.take_notice(seen.id, [user_topic(ada.pk)])
    telltale.notify(ada, "Second", url="/reports/7/")
    text = page(signed_in)
    assert listed(text) == ["Second", "First"]
    assert text.count(">New<") == 1
    assert 'href="/reports/7/"' in text
    assert 'level="error"' in text


def test_a_message_that_the_page_has_shown_is_seen_and_stays_readable(ada: Any, signed_in: Client) -> None:
    telltale.notify(ada, "Hello")
    page(signed_in)
    assert unseen() == 0
    text = page(signed_in)
    assert listed(text) == ["Hello"]
    assert ">New<" not in text


def test_only_what_a_page_of_the_list_shows_counts_as_seen_and_older_messages_are_a_link_away(
    ada: Any, signed_in: Client
) -> None:
    for n in range(store.MESSAGES_LISTED + 2):
        telltale.notify(ada, f"{n}")
    first = page(signed_in)
    assert (len(listed(first)), unseen()) == (store.MESSAGES_LISTED, 2)
    [older] = re.findall(r'<a href="([^"]+)" rel="next"', first)
    assert listed(page(signed_in, older)) == ["1", "0"]
    assert unseen() == 0


@pytest.mark.parametrize(("header", "value"), [("Sec-Purpose", "prefetch;prerender"), ("Purpose", "prefetch")])
def test_a_page_that_a_browser_fetches_in_advance_marks_nothing_as_seen(
    ada: Any, signed_in: Client, header: str, value: str
) -> None:
    task = task_of(ada)
    ended(started(task))  # its own page shows the end, too
    for path in (URL, f"/telltale/tasks/{task.pk}/"):
        page(signed_in, path, **{header: value})
        signed_in.head(path, headers={"Accept": BROWSER})
    assert unseen() == 1


def test_a_program_gets_the_list_with_the_address_of_older_messages_and_marks_nothing_as_seen(
    ada: Any, signed_in: Client
) -> None:
    for n in range(store.MESSAGES_LISTED + 1):
        telltale.notify(ada, f"{n}", level="warning")
    first = get_json(signed_in).json()
    assert len(first["messages"]) == store.MESSAGES_LISTED
    assert first["messages"][0].items() >= {"text": "50", "level": "warning", "shown_at": None}.items()
    second = get_json(signed_in, first["older"]).json()
    assert ([message["text"] for message in second["messages"]], second["older"]) == (["0"], None)
    assert unseen() == store.MESSAGES_LISTED + 1


def test_a_place_that_can_t_be_read_is_refused_for_programs_and_is_the_first_page_for_people(
    ada: Any, signed_in: Client
) -> None:
    telltale.notify(ada, "Hello")
    refused = get_json(signed_in, f"{URL}?before=yesterday")
    assert (refused.status_code, "older" in refused.json()["error"]) == (400, True)
    assert listed(page(signed_in, f"{URL}?before=yesterday")) == ["Hello"]


def test_visitors_see_only_their_own_messages_and_anonymous_ones_those_of_their_session(ada: Any) -> None:
    telltale.notify(ada, "for Ada")
    grace = Client()
    grace.force_login(person("grace"))
    assert listed(page(grace)) == []
    assert "No messages yet" in page(Client())
    assert unseen() == 1


def test_a_message_from_another_hand_is_text_and_a_link_that_would_run_as_a_script_is_left_out(
    ada: Any, signed_in: Client
) -> None:
    telltale.notify(ada, "<script>alert(1)</script>", url="javascript:alert(1)")
    text = page(signed_in)
    assert "<script>alert" not in text
    assert "javascript:" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_the_tag_shows_the_newest_messages_on_any_page_and_counts_none_as_seen(ada: Any) -> None:
    for n in range(4):
        telltale.notify(ada, f"{n}")
    request = RequestFactory().get("/")
    request.user = ada
    source = Template("{% load telltale %}{% task_messages limit=3 %}")
    text = source.render(Context({"request": request}))
    assert listed(text) == ["3", "2", "1"]
    assert '<p class="telltale-hint" hidden>No messages yet.' in text
    assert f'href="{URL}"' in text
    assert unseen() == 4
