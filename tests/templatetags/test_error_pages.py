"""A site whose base template has Telltale's tags: its pages of errors are shown as they were written."""

from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

BASE = """{% load telltale %}<html><head>{% telltale %}</head>
<body>{% block main %}{% endblock %}{% task_messages %}<task-toasts></task-toasts></body></html>"""


def broken(request: HttpRequest) -> HttpResponse:
    raise ValueError("A fault of the site.")


urlpatterns = [path("broken/", broken), path("telltale/", include("telltale.urls"))]


@pytest.fixture(autouse=True)
def templates(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "base.html").write_text(BASE)
    for status in (404, 500):
        (tmp_path / f"{status}.html").write_text(
            f'{{% extends "base.html" %}}{{% block main %}}Page {status}{{% endblock %}}'
        )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]


def test_the_page_of_a_server_error_which_has_no_request_is_shown_without_live_updates() -> None:
    answer = Client(raise_request_exception=False).get("/broken/")
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "".join(page.split()) == "<html><head></head><body>Page500<task-toasts></task-toasts></body></html>"


def test_the_page_of_a_missing_address_is_live() -> None:
    answer = Client().get("/none/")
    assert answer.status_code == 404
    assert "Page 404" in answer.content.decode()
    assert "importmap" in answer.content.decode()
