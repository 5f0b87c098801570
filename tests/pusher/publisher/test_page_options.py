"""What pages learn of the site's Pusher service, in the tag `{% telltale %}` and with each ticket."""

import json
from typing import Any

import pytest
from django.core.checks import Error
from django.test import Client

from telltale import checks
from telltale.page_data import page_data
from telltale.pages import permissions
from telltale.pusher.publisher.page_options import service
from tests.factories import asked_by, person, task_of

HOSTED = "pusher://key-1:hush@eu/1"
OWN = "pusher://key-1:hush@soketi:6001/1?tls=0"


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.pusher.site_urls"


def use(settings: Any, broker: str = HOSTED, **more: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": broker, **more}


def test_a_page_gets_key_options_and_the_address_that_signs_and_never_the_secret(settings: Any) -> None:
    use(settings)
    found = service()
    assert found == {"key": "key-1", "options": {"cluster": "eu"}, "auth": "/pusher/auth/", "script": None}
    assert "hush" not in json.dumps(found)


def test_settings_replace_the_options_where_browsers_reach_the_service_by_another_name(settings: Any) -> None:
    use(settings, OWN, PUSHER_JS_OPTIONS={"wsHost": "push.example.org", "wsPort": 443, "forceTLS": True})
    found = service()
    assert found is not None
    options = found["options"]
    assert [options[key] for key in ("wsHost", "wsPort", "wssPort", "forceTLS")] == [
        "push.example.org",
        443,
        6001,
        True,
    ]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://js.pusher.com/8.4/pusher.min.js", "https://js.pusher.com/8.4/pusher.min.js"),
        ("/assets/pusher.js", "/assets/pusher.js"),
        ("vendor/pusher.min.js", "/static/vendor/pusher.min.js"),
    ],
)
def test_the_script_is_a_url_or_a_static_file(settings: Any, given: str, url: str) -> None:
    use(settings, PUSHER_JS=given)
    found = service()
    assert found is not None
    assert found["script"] == url


def test_without_such_a_broker_or_without_the_views_pages_learn_of_no_service(settings: Any) -> None:
    use(settings, "memory://", PUSHER_JS="vendor/pusher.min.js")
    assert service() is None
    use(settings)
    settings.ROOT_URLCONF = "tests.urls"
    assert service() is None


@pytest.mark.django_db
def test_a_ticket_and_a_page_have_the_channel_of_each_topic(settings: Any, client: Client) -> None:
    use(settings)
    ada = person("ada")
    task = task_of(ada)
    client.force_login(ada)
    channels = {f"private-user-{ada.pk}": f"user:{ada.pk}"}
    page = page_data(asked_by(ada))
    assert (page["channels"], page["pusher"]["key"]) == (channels, "key-1")
    body = {"topics": [f"user:{ada.pk}", f"task:{task.pk}", "user:999"]}
    ticket = client.post("/telltale/ticket/", body, content_type="application/json").json()
    assert ticket["channels"] == {**channels, f"private-task-{task.pk}": f"task:{task.pk}"}


@pytest.mark.django_db
def test_a_page_that_shows_ones_own_task_has_no_second_channel_for_it(settings: Any) -> None:
    use(settings, CAN_FOLLOW="tests.pusher.site_urls.can_follow_tasks")
    ada = person("ada")
    own, foreign = task_of(ada), task_of(person("eve"))
    channels = page_data(asked_by(ada), (own, foreign))["channels"]
    assert channels == {f"private-user-{ada.pk}": f"user:{ada.pk}", f"private-task-{foreign.pk}": f"task:{foreign.pk}"}


@pytest.mark.django_db
def test_without_a_pusher_service_tickets_and_pages_have_neither(settings: Any) -> None:
    use(settings, "memory://")
    request = asked_by(person("ada"))
    assert page_data(request).keys().isdisjoint({"channels", "pusher"})
    assert "channels" not in permissions.page_ticket(request).to_json()


def test_wrong_types_of_the_settings_are_reported(settings: Any) -> None:
    use(settings, PUSHER_JS=7, PUSHER_JS_OPTIONS="wsHost")
    texts = [error.msg for error in checks.check_settings() if isinstance(error, Error)]
    assert len(texts) == 2
    assert any("PUSHER_JS'" in text and "7" in text for text in texts)
    assert any("PUSHER_JS_OPTIONS" in text and "'wsHost'" in text for text in texts)
