"""The whole list of a visitor's tasks, for browsers without JavaScript and for programs, one page after another."""

import html
import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages import task_list
from tests.factories import ended, person, started, task_of, unknown_id
from tests.store.factories import queue

pytestmark = pytest.mark.django_db

LIST = "/telltale/tasks/"
NEWEST_FIRST = [["Task 6", "Task 5", "Task 4"], ["Task 3", "Task 0", "Task 2"], ["Task 1"]]


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> Client:
    """A visitor with seven tasks, of which three have ended, on pages of three."""
    monkeypatch.setattr(task_list, "PAGE_SIZE", 3)
    ada = person("ada")
    tasks = [queue(owner=Owner(user_id=ada.pk), label=f"Task {number}", now=1e9 + number) for number in range(7)]
    for number in (1, 2, 0):
        ended(started(tasks[number]))
    task_of(person("grace"), label="Theirs")
    client = Client()
    client.force_login(ada)
    return client


def page(client: Client, url: str) -> str:
    response = client.get(url, headers={"Accept": "text/html"})
    assert response.status_code == 200
    return str(response.content.decode())


def labels(text: str) -> list[str]:
    return re.findall(r">(Task \d)</a>", text)


def link(text: str, words: str) -> str:
    """The address of the link with these words; empty if there is none."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{words}</a>', text)
    return LIST + html.unescape(found[1]) if found else ""


def test_without_javascript_the_pages_lead_through_all_tasks_and_back_to_the_newest(signed_in: Client) -> None:
    first = page(signed_in, LIST)
    second = page(signed_in, link(first, "Older tasks"))
    third = page(signed_in, link(second, "Older tasks"))
    assert [labels(text) for text in (first, second, third)] == NEWEST_FIRST
    assert (link(first, "Newest tasks"), link(third, "Older tasks")) == ("", "")
    assert labels(page(signed_in, link(third, "Newest tasks"))) == NEWEST_FIRST[0]


def test_a_program_follows_the_address_of_the_older_tasks(signed_in: Client) -> None:
    url, read = LIST, []
    while url:
        answer: dict[str, Any] = signed_in.get(url, headers={"Accept": "application/json"}).json()
        read.append([task["label"] for task in answer["tasks"]])
        url = answer["older"]
    assert read == NEWEST_FIRST


def test_a_place_that_is_none_is_refused_for_programs_and_shows_people_the_newest(signed_in: Client) -> None:
    response = signed_in.get(LIST, {"before": "7"}, headers={"Accept": "application/json"})
    assert response.status_code == 400
    assert "Follow the address in “older”." in response.json()["error"]
    assert labels(page(signed_in, LIST + "?before=7")) == NEWEST_FIRST[0]


def test_a_page_of_older_tasks_refreshes_until_the_visitor_stops_it_and_stays_the_same_page(signed_in: Client) -> None:
    older = link(page(signed_in, LIST), "Older tasks")
    text = page(signed_in, older)
    assert '<noscript><meta http-equiv="refresh"' in text
    stopped = page(signed_in, link(text, "Stop refreshing"))
    assert "http-equiv" not in stopped
    assert labels(stopped) == labels(text)
    assert link(stopped, "Refresh automatically") == older
    assert "refresh=off" in link(stopped, "Older tasks")
    assert "refresh" not in page(signed_in, link(text, "Older tasks")).partition("<main>")[2]  # All have ended.


def test_an_action_leads_back_to_the_page_of_older_tasks(signed_in: Client) -> None:
    text = page(signed_in, link(page(signed_in, LIST), "Older tasks"))
    action = re.search(r'action="([^"]*/cancel/)"[^>]*>\s*<input[^>]*><input[^>]* name="next" value="([^"]*)"', text)
    assert action
    response = signed_in.post(action[1], {"next": html.unescape(action[2])}, headers={"Accept": "text/html"})
    assert labels(page(signed_in, response["Location"])) == ["Task 3", "Task 0", "Task 2"]


# What the tray asks


def test_of_named_tasks_a_visitor_gets_those_they_may_see_with_the_actions_they_may_take(signed_in: Client) -> None:
    mine, theirs = TaskState.objects.get(label="Task 4"), TaskState.objects.get(label="Theirs")
    answer = signed_in.get(LIST, {"id": [str(mine.pk), str(theirs.pk), "nonsense"]}).json()
    assert [(task["label"], task["actions"]) for task in answer["tasks"]] == [("Task 4", ["cancel"])]


def test_a_task_that_can_be_run_again_says_so_from_its_beginning(signed_in: Client) -> None:
    ada = get_user_model().objects.get(username="ada")
    task = queue(owner=Owner(user_id=ada.pk), runner="thread", name="tests.app.thread_tasks.count")
    answer = signed_in.get(LIST, {"id": str(task.pk)}).json()
    assert answer["tasks"][0]["actions"] == ["cancel", "retry"]


def test_s37_naming_too_many_tasks_is_refused(signed_in: Client) -> None:
    response = signed_in.get(LIST, {"id": [unknown_id() for _ in range(4)]})
    assert (response.status_code, response.json()["error"]) == (400, "Name at most 3 tasks, not 4.")
