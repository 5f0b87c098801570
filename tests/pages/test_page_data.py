"""The data of a page that Django does not render, such as a single-page app's: those of `{% telltale %}`, as JSON."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from telltale.core.topics import user_topic
from telltale.live import tickets

pytestmark = pytest.mark.django_db


def test_the_data_are_those_of_a_page_with_the_tag(signed_in: Client) -> None:
    html = signed_in.get("/telltale/tasks/", headers={"Accept": "text/html"}).content.decode()
    [block] = re.findall(r'<script type="application/json" id="telltale-page"[^>]*>(.*?)</script>', html)
    assert signed_in.get("/telltale/page/").json().keys() == json.loads(block).keys()


def test_the_ticket_is_for_the_visitor_alone_and_no_cache_keeps_it(signed_in: Client, ada: Any) -> None:
    response = signed_in.get("/telltale/page/")
    assert tickets.verify(response.json()["ticket"]).topics == {user_topic(ada.pk)}
    assert response.headers["Cache-Control"] == "no-store, private"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    anonymous = Client().get("/telltale/page/").json()
    assert not any(topic.startswith("user:") for topic in anonymous["topics"])


def test_the_token_lets_the_page_post(ada: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    token = client.get("/telltale/page/").json()["csrf"]["token"]
    body = json.dumps({"topics": [user_topic(ada.pk)]})
    for headers, status in (({}, 403), ({"X-CSRFToken": token}, 200)):
        assert client.post("/telltale/ticket/", body, "application/json", headers=headers).status_code == status
    assert client.post("/telltale/page/", headers={"X-CSRFToken": token}).status_code == 405
