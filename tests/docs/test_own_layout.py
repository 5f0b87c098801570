"""docs/themes.md: a template of the site shows Telltale's own pages in the site's layout."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from telltale.core.states import State
from tests.factories import ended, person, started, task_of
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

PAGE = (ROOT / "docs" / "themes.md").read_text()
[OWN_BASE] = re.findall(r"```django\n\{# telltale/base\.html #\}\n(.*?)```", PAGE, re.S)

BASE = """<html><head><title>Shop: {% block title %}{% endblock %}</title>{% block extra_head %}{% endblock %}</head>
<body><nav>Shop</nav><main>{% block main %}{% endblock %}</main></body></html>"""
BASE_WITH_THESE_BLOCKS = """{% load telltale %}<html><head><title>Shop: {% block title %}{% endblock %}</title>
{% telltale %}{% block head %}{% endblock %}</head>
<body><nav>Shop</nav><main>{% block content %}{% endblock %}</main><task-toasts></task-toasts></body></html>"""


@pytest.mark.parametrize(
    ("base", "own_base"),
    [(BASE, OWN_BASE), (BASE_WITH_THESE_BLOCKS, OWN_BASE.splitlines()[0])],
    ids=["other blocks", "the same blocks"],
)
def test_telltales_pages_stand_in_the_sites_layout(base: str, own_base: str, tmp_path: Path, settings: Any) -> None:
    (tmp_path / "telltale").mkdir()
    (tmp_path / "base.html").write_text(base)
    (tmp_path / "telltale" / "base.html").write_text(own_base)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    ada = person()
    client = Client(headers={"Accept": "text/html"})
    client.force_login(ada)
    open_task, done = task_of(ada), task_of(ada)
    ended(started(done), State.SUCCEEDED)
    for answer, title, text in [
        (client.get(f"/telltale/tasks/{open_task.pk}/"), "Import airports", "What happened"),
        (client.get("/telltale/tasks/"), "Your tasks", "Import airports"),
        (client.get("/telltale/messages/"), "Your messages", "All your tasks"),
        (client.post(f"/telltale/tasks/{done.pk}/cancel/"), "Import airports", "has already ended"),
    ]:
        page = html.unescape(answer.content.decode())
        head, body = page.split("</head>")
        assert f"<title>Shop: {title}</title>" in head
        assert head.count('type="importmap"') == 1
        assert "<nav>Shop</nav><main>" in body
        assert text in body
        assert body.count("<task-toasts>") == 1
