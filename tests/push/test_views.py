"""A page adds and removes its browser, for its own visitor and session, and nothing else can."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth import login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client

import telltale
from telltale import store
from telltale.models import PushSubscription
from telltale.pages.push import NAME_IN_SESSION
from telltale.push.options import public_key_of
from telltale.store.push import MOST_BROWSERS
from tests.factories import person
from tests.push.service import PRIVATE_KEY, PushBrowser, PushService

pytestmark = pytest.mark.django_db

ADD, REMOVE, WORKER = "/telltale/push/subscribe/", "/telltale/push/unsubscribe/", "/telltale/push/worker.js"


def post(client: Client, url: str, body: object, **more: Any) -> Any:
    return client.post(url, json.dumps(body), content_type="application/json", **more)


def rows() -> list[tuple[str, str]]:
    return [(row.topic, row.endpoint) for row in PushSubscription.objects.order_by("pk")]


def page_data(client: Client) -> dict[str, Any]:
    found = re.search(
        r'id="telltale-page">(.*?)</script>', client.get("/telltale/tasks/", headers={"Accept": "text/html"}).text
    )
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture
def ada(client: Client) -> Any:
    user = person("ada")
    client.force_login(user)
    return user


def test_a_page_learns_the_public_key_and_whether_the_site_knows_its_browser(
    client: Client, ada: Any, service: PushService
) -> None:
    push = page_data(client)["push"]
    assert push == {
        "key": public_key_of(PRIVATE_KEY),
        "worker": WORKER,
        "subscribe": ADD,
        "unsubscribe": REMOVE,
        "known": "none",
    }
    browser = service.browser()
    assert post(client, ADD, browser.subscription).status_code == 200
    assert rows() == [(f"user:{ada.pk}", browser.endpoint)]
    assert page_data(client)["push"]["known"] == "current"
    assert PRIVATE_KEY not in json.dumps(page_data(client))


def test_without_the_setting_pages_have_no_push_and_the_views_refuse(client: Client, ada: Any) -> None:
    assert "push" not in page_data(client)
    assert post(client, ADD, PushBrowser("https://fcm.googleapis.com/x").subscription).status_code == 404


def test_a_page_renews_its_browser_after_a_new_password(client: Client, ada: Any, service: PushService) -> None:
    browser = service.browser()
    post(client, ADD, browser.subscription)
    [former] = PushSubscription.objects.all()
    entry = client.session[NAME_IN_SESSION]
    ada.set_password("another")
    ada.save()
    client.force_login(ada)
    session = client.session
    session[NAME_IN_SESSION] = entry  # as in the session in which the password was changed
    session.save()
    assert page_data(client)["push"]["known"] == "old"
    post(client, ADD, browser.subscription)
    [renewed] = PushSubscription.objects.all()
    assert renewed.pk == former.pk
    assert renewed.auth != former.auth
    assert page_data(client)["push"]["known"] == "current"


def test_a_renewal_makes_neither_the_session_nor_the_browser_last_longer_unless_each_request_does(
    client: Client, ada: Any, service: PushService, settings: Any
) -> None:
    browser = service.browser()
    post(client, ADD, browser.subscription)
    earlier = store.now() + 3_600
    session = client.session
    session[NAME_IN_SESSION] = {**session[NAME_IN_SESSION], "until": earlier}
    session.save()
    PushSubscription.objects.update(until=earlier, used_at=0)
    answer = post(client, ADD, browser.subscription)
    [row] = PushSubscription.objects.all()
    assert row.until == earlier
    assert row.used_at > 0
    assert "sessionid" not in answer.cookies
    settings.SESSION_SAVE_EVERY_REQUEST = True
    post(client, ADD, browser.subscription)
    [row] = PushSubscription.objects.all()
    assert row.until > earlier + 3_600


def test_after_the_end_of_the_session_that_asked_the_visitor_is_asked_again(
    client: Client, ada: Any, service: PushService
) -> None:
    post(client, ADD, service.browser().subscription)
    session = client.session
    session[NAME_IN_SESSION] = {**session[NAME_IN_SESSION], "until": store.now() - 1}
    session.save()
    assert page_data(client)["push"]["known"] == "none"


def test_a_browser_whose_service_gave_it_another_address_has_one_row(
    client: Client, ada: Any, service: PushService
) -> None:
    post(client, ADD, service.browser("old").subscription)
    new = service.browser("new")
    post(client, ADD, new.subscription)
    assert rows() == [(f"user:{ada.pk}", new.endpoint)]


def test_an_anonymous_visitor_with_a_session_of_their_own_may_be_notified_too(
    client: Client, service: PushService
) -> None:
    assert "push" not in page_data(client)
    assert post(client, ADD, service.browser().subscription).status_code == 404
    client.post("/start/")
    session = client.session
    session["telltale_owner"] = "a" * 40
    session.save()
    assert page_data(client)["push"]["known"] == "none"
    assert post(client, ADD, service.browser().subscription).status_code == 200
    assert [topic for topic, _ in rows()] == ["session:" + "a" * 40]


@pytest.mark.parametrize("address", [ADD, REMOVE])
@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        {"endpoint": "https://10.0.0.1/x", "keys": {}},
        {"endpoint": "http://127.0.0.1:1/x", "keys": {}},
        {"endpoint": "https://fcm.googleapis.com/x"},
    ],
)
def test_a_malformed_or_foreign_address_is_refused_and_stored_nowhere(
    client: Client, ada: Any, service: PushService, address: str, body: object
) -> None:
    assert post(client, address, body).status_code == 400
    assert rows() == []


def test_another_sites_page_can_not_add_a_browser(ada: Any, service: PushService) -> None:
    foreign = Client(enforce_csrf_checks=True)
    foreign.force_login(ada)
    assert post(foreign, ADD, service.browser().subscription).status_code == 403
    assert rows() == []


def test_an_address_of_which_only_the_place_is_known_can_not_be_taken_over_or_removed(
    client: Client, ada: Any, service: PushService
) -> None:
    browser = service.browser()
    post(client, ADD, browser.subscription)
    mallory = Client()
    mallory.force_login(person("mallory"))
    assert post(mallory, ADD, PushBrowser(browser.endpoint).subscription).status_code == 409
    post(mallory, REMOVE, PushBrowser(browser.endpoint).subscription)
    assert rows() == [(f"user:{ada.pk}", browser.endpoint)]


def sign_in_over_another(client: Client, user: Any) -> None:
    """As a login view does for a visitor who is signed in as another user."""
    request = HttpRequest()
    request.COOKIES = {name: cookie.value for name, cookie in client.cookies.items()}
    request.session = SessionStore(client.cookies["sessionid"].value)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    client.cookies["sessionid"] = request.session.session_key


def test_a_browser_in_which_another_user_signs_in_gets_nothing_of_the_first_one(
    client: Client, ada: Any, service: PushService
) -> None:
    browser, eve, phone = service.browser(), person("eve"), Client()
    post(client, ADD, browser.subscription)
    phone.force_login(ada)
    post(phone, ADD, service.browser("phone").subscription)
    sign_in_over_another(client, eve)  # without signing out first
    assert [endpoint.rpartition("/")[2] for _, endpoint in rows()] == ["phone"]
    assert page_data(client)["push"]["known"] == "none"
    assert post(client, ADD, browser.subscription).status_code == 200
    assert rows()[1:] == [(f"user:{eve.pk}", browser.endpoint)]


def test_the_browser_itself_removes_its_subscription_whoever_is_signed_in(
    client: Client, ada: Any, service: PushService
) -> None:
    browser = service.browser()
    post(client, ADD, browser.subscription)
    assert post(Client(), REMOVE, browser.subscription).status_code == 200
    assert rows() == []


def test_a_person_has_a_few_browsers_and_adds_a_few_at_a_time(client: Client, ada: Any, service: PushService) -> None:
    def add(name: str) -> int:
        session = client.session
        session.pop(NAME_IN_SESSION, None)  # as from another device
        session.save()
        return int(post(client, ADD, service.browser(name).subscription).status_code)

    assert [add(f"{n}") for n in range(MOST_BROWSERS + 1)] == [200] * MOST_BROWSERS + [429]
    PushSubscription.objects.update(created_at=store.now() - 100)
    assert add("new") == 200
    names = [endpoint.rpartition("/")[2] for _, endpoint in rows()]
    assert names == [*(f"{n}" for n in range(1, MOST_BROWSERS)), "new"]


def test_a_visitor_who_signs_out_is_forgotten_with_the_browser_and_signs_in_again_without_it(
    client: Client, ada: Any, service: PushService
) -> None:
    post(client, ADD, service.browser().subscription)
    client.logout()
    assert rows() == []
    client.force_login(ada)
    assert page_data(client)["push"]["known"] == "none"


def test_the_service_worker_is_a_script_of_its_own_folder_that_anyone_may_get(client: Client) -> None:
    response = client.get(WORKER)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    # Without this header, its scope is its folder.
    assert "Service-Worker-Allowed" not in response.headers
    assert "notificationclick" in response.text
    assert client.post(WORKER).status_code == 405


def test_a_key_that_can_not_be_used_breaks_no_page(
    client: Client, ada: Any, service: PushService, settings: Any
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSH": {**settings.TELLTALE["PUSH"], "VAPID_PRIVATE_KEY": "nonsense"}}
    assert "push" not in page_data(client)
    telltale.notify(ada, "Hello")
