"""Notices that no page has shown are pushed to one browser of their person, each once, and none is lost."""

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from django.core import mail as outbox
from django.test import Client

import telltale
from telltale import store, unseen
from telltale.core.push import Subscription
from telltale.core.wire import Notice
from telltale.live import rights
from telltale.models import PushSubscription, StoredNotice
from telltale.owners import Owner
from telltale.push import delivery, sender
from telltale.push.delivery import push_due
from telltale.push.options import public_key_of
from telltale.store.notices import HANDING_OVER_S
from tests.factories import person
from tests.push.service import PRIVATE_KEY, PushBrowser, PushService, Received
from tests.store.factories import run_at_once

pytestmark = pytest.mark.django_db

AGE_S = 4_000.0


@pytest.fixture
def ada(service: PushService) -> Any:
    return person("ada", email="ada@example.com")


def add(user: Any, browser: PushBrowser, *, used_s_ago: float = 0.0) -> None:
    """The user's browser, which was added long before any notice."""
    subscription = Subscription.read(browser.subscription, [browser.endpoint.split("/push/")[0]])
    [auth, *_] = rights._auth_digests(user)
    now = store.now()
    assert store.add_push(f"user:{user.pk}", subscription, auth=auth, until=now + 86_400, now=now - used_s_ago)
    PushSubscription.objects.update(created_at=now - 80_000)


def due_notice(user: Any, text: str, *, age_s: float = AGE_S, **more: Any) -> Notice:
    notice = telltale.notify(user, text, **more)
    StoredNotice.objects.filter(pk=notice.id).update(created_at=store.now() - age_s)
    return notice


def waiting(user: Any) -> list[str]:
    return [row.text for row in store.read_waiting(Owner.of(user))]


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in messages]


def test_what_no_page_has_shown_is_pushed_once_and_read_by_that_browser_alone(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    notice = due_notice(ada, "Import: finished. ✓", url="/telltale/tasks/7/")
    assert [push_due().notices for _ in range(2)] == [1, 0]
    assert service.to(browser) == [{"id": notice.id, "text": "Import: finished. ✓", "url": "/telltale/tasks/7/"}]
    assert waiting(ada) == []
    [listed] = store.list_messages(Owner.of(ada)).messages
    assert listed.shown_at is not None
    [received] = service.received
    assert b"Import" not in received.body
    with pytest.raises(Exception, match=r"(?i)decrypt|tag|invalid"):
        PushBrowser(browser.endpoint).read(received)


def test_the_push_service_learns_who_sends_how_urgent_it_is_and_for_how_long_to_keep_it(
    ada: Any, service: PushService
) -> None:
    add(ada, service.browser())
    notice = due_notice(ada, "Hello")
    push_due()
    [received] = service.received
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert (headers["ttl"], headers["urgency"]) == ("86400", "normal")
    assert headers["topic"] == notice.id.replace("-", "")
    assert signed_claims(received)["aud"] == service.url
    assert signed_claims(received)["sub"] == "mailto:ada@example.com"


def signed_claims(received: Received) -> dict[str, Any]:
    """What the site has signed by its key; raises if the signature is another's."""
    token = received.headers["authorization"].split("t=")[1].split(",")[0]
    signed, _, signature = token.rpartition(".")
    point, raw = (base64.urlsafe_b64decode(text + "==") for text in (public_key_of(PRIVATE_KEY), signature))
    numbers = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    key.verify(numbers, signed.encode(), ec.ECDSA(hashes.SHA256()))
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
    return claims


def test_what_a_page_has_shown_or_holds_or_may_still_show_is_not_pushed(ada: Any, service: PushService) -> None:
    add(ada, service.browser())
    topic = f"user:{ada.pk}"
    due_notice(ada, "new", age_s=10)
    due_notice(ada, "of another day", age_s=100_000)
    store.take_notice(due_notice(ada, "shown").id, [topic])
    store.hold_notice(due_notice(ada, "held").id, [topic], "a page")
    due_notice(person("eve"), "of a person without a browser")
    assert push_due().notices == 0
    assert service.received == []


def test_what_came_before_the_first_browser_was_added_is_left_to_pages(ada: Any, service: PushService) -> None:
    due_notice(ada, "old")
    browser = service.browser()
    add(ada, browser)
    PushSubscription.objects.update(created_at=store.now() - AGE_S + 60)
    assert store.push_topics(0.0) == []
    due_notice(ada, "new", age_s=AGE_S - 120)
    push_due()
    assert texts(service.to(browser)) == ["new"]


def test_of_several_browsers_the_one_that_was_used_last_gets_the_message(ada: Any, service: PushService) -> None:
    laptop, phone = service.browser("laptop"), service.browser("phone")
    add(ada, phone)
    add(ada, laptop, used_s_ago=1_000)
    due_notice(ada, "Hello")
    push_due()
    assert (texts(service.to(phone)), service.to(laptop)) == (["Hello"], [])


def test_a_browser_that_passes_to_another_user_gets_no_notice_from_before_that(ada: Any, service: PushService) -> None:
    eve, browser = person("eve"), service.browser()
    add(ada, browser)
    due_notice(eve, "old")
    subscription = Subscription.read(browser.subscription, [browser.endpoint.split("/push/")[0]])
    [auth, *_] = rights._auth_digests(eve)
    assert store.add_push(f"user:{eve.pk}", subscription, auth=auth, until=store.now() + 86_400)
    push_due()
    assert (service.received, PushSubscription.objects.get().topic) == ([], f"user:{eve.pk}")


@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_has_unsubscribed_is_forgotten_and_the_next_one_gets_the_message(
    ada: Any, service: PushService, status: int
) -> None:
    laptop, phone = service.browser("laptop"), service.browser("phone")
    add(ada, phone)
    add(ada, laptop, used_s_ago=1_000)
    service.answer(phone, status)
    due_notice(ada, "Hello")
    assert push_due().notices == 1
    assert texts(service.to(laptop)) == ["Hello"]
    assert [row.endpoint for row in PushSubscription.objects.all()] == [laptop.endpoint]


@pytest.mark.parametrize(
    ("status", "headers", "pauses_s"),
    [
        (429, {"Retry_After": "7200"}, [7_200] * 4),
        (429, {"Retry_After": "100"}, [100, 100, 120, 240]),
        (503, {"Retry_After": "Fri, 01 Jan 2077 00:00:00 GMT"}, [86_400] * 4),
        (500, {"Retry_After": "soon"}, [30, 60, 120, 240]),
        (403, {}, [30, 60, 120, 240]),
    ],
)
def test_a_service_that_fails_is_left_alone_for_longer_each_time_and_the_notice_waits_for_pages_and_mail(
    ada: Any, service: PushService, settings: Any, status: int, headers: dict[str, str], pauses_s: list[float]
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "UNSEEN": "telltale.unseen.mail"}
    browser = service.browser()
    add(ada, browser)
    service.answer(browser, status, **headers)
    due_notice(ada, "Hello")
    for pause_s in pauses_s:
        before = store.now()
        assert [push_due().failures for _ in range(3)] == [1, 0, 0]
        assert waiting(ada) == ["Hello"]
        [row] = PushSubscription.objects.all()
        assert before + pause_s <= row.retry_at <= store.now() + pause_s
        PushSubscription.objects.update(retry_at=before)
    unseen.hand_over()
    assert [sent.subject for sent in outbox.outbox] == ["Hello"]
    service.answers.clear()
    PushSubscription.objects.update(retry_at=None)
    assert push_due().notices == 0  # The mail has it.


def test_after_a_failure_the_message_is_pushed_by_the_next_call_that_may(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    service.answer(browser, 500)
    due_notice(ada, "Hello")
    push_due()
    service.answers.clear()
    PushSubscription.objects.update(retry_at=store.now() - 1)
    assert push_due().notices == 1
    [row] = PushSubscription.objects.all()
    assert (row.failures, row.retry_at) == (0, None)
    assert row.sent_at is not None


def test_a_redirect_is_not_followed_into_the_sites_own_network(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    service.answer(browser, 307, Location=f"{service.url}/admin/")
    due_notice(ada, "Hello")
    assert push_due().failures == 1
    assert [request.path for request in service.received] == ["/push/laptop"]


def test_a_service_that_does_not_answer_is_given_up(
    ada: Any, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", (5.0, 0.2))
    add(ada, service.browser())
    due_notice(ada, "Hello")
    service.answering.clear()
    assert push_due().failures == 1
    assert waiting(ada) == ["Hello"]


def test_an_address_of_a_service_that_the_site_no_longer_names_gets_nothing(
    ada: Any, service: PushService, settings: Any
) -> None:
    add(ada, service.browser())
    due_notice(ada, "Hello")
    settings.TELLTALE = {**settings.TELLTALE, "PUSH": {**settings.TELLTALE["PUSH"], "SERVICES": ["push.example.org"]}}
    assert push_due().notices == 0
    assert service.received == []
    assert waiting(ada) == ["Hello"]
    assert not PushSubscription.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_processes_that_push_at_the_same_time_one_sends_each_notice(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    sent = [f"{n}" for n in range(3)]
    for text in sent:
        due_notice(ada, text)
    run_at_once(*[push_due] * 4)
    assert sorted(texts(service.to(browser))) == sent


@pytest.mark.django_db(transaction=True)
def test_of_a_page_and_push_that_want_a_notice_at_the_same_time_one_gets_it(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    notices = [due_notice(ada, f"{n}") for n in range(3)]
    shown: list[str] = []

    def page() -> None:
        shown.extend(n.text for n in notices if store.hold_notice(n.id, [f"user:{ada.pk}"], "page").granted)

    run_at_once(push_due, page)
    assert sorted(shown + texts(service.to(browser))) == ["0", "1", "2"]


def test_while_a_notice_is_being_pushed_no_page_shows_it(
    ada: Any, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ada, service.browser())
    notice, seen = due_notice(ada, "Hello"), []
    real_send = delivery.send

    def send_while_a_page_asks(*arguments: Any) -> Any:
        seen.append(store.hold_notice(notice.id, [f"user:{ada.pk}"], "page").granted)
        return real_send(*arguments)

    monkeypatch.setattr(delivery, "send", send_while_a_page_asks)
    assert push_due().notices == 1
    assert seen == [False]


def test_a_process_that_dies_after_the_service_has_the_message_sends_it_again_by_the_same_id(
    ada: Any, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = service.browser()
    add(ada, browser)
    due_notice(ada, "Hello")

    def die(*_: Any) -> None:
        raise SystemExit  # as if it was killed: no code of ours runs after that

    with monkeypatch.context() as patch:
        patch.setattr(store, "confirm_handed_over", die)
        patch.setattr(store, "give_back", die)
        with pytest.raises(SystemExit):
            push_due()
    assert push_due().notices == 0
    assert waiting(ada) == []  # It may have been shown.
    StoredNotice.objects.update(held_until=store.now() - 1)  # HANDING_OVER_S later
    assert HANDING_OVER_S < 600
    assert push_due().notices == 1
    first, second = service.to(browser)
    assert first == second


@pytest.mark.parametrize("change", ["password", "inactive"])
def test_a_user_who_lost_the_rights_gets_nothing_more(ada: Any, service: PushService, change: str) -> None:
    add(ada, service.browser())
    due_notice(ada, "Hello")
    if change == "password":
        ada.set_password("another")
    else:
        ada.is_active = False
    ada.save()
    assert push_due().notices == 0
    assert service.received == []
    assert not PushSubscription.objects.exists()


def test_with_the_user_go_the_users_browsers(ada: Any, service: PushService) -> None:
    add(ada, service.browser())
    eve = person("eve")
    add(eve, service.browser("phone"))
    ada.delete()
    assert [row.topic for row in PushSubscription.objects.all()] == [f"user:{eve.pk}"]


def test_a_browser_whose_session_has_ended_gets_nothing_and_is_pruned(ada: Any, service: PushService) -> None:
    add(ada, service.browser())
    due_notice(ada, "Hello")
    PushSubscription.objects.update(until=store.now() - 1)
    assert push_due().notices == 0
    store.prune()
    assert service.received == []
    assert not PushSubscription.objects.exists()


def test_very_many_new_notices_are_one_message_that_leads_to_the_list(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    for n in range(5):
        due_notice(ada, f"{n}", url=f"/{n}/")
    assert push_due().notices == 5
    [message] = service.to(browser)
    assert (message["text"], message["url"]) == ("5 new messages", None)


def test_a_text_and_a_link_of_any_length_fit_into_a_message(ada: Any, service: PushService) -> None:
    browser = service.browser()
    add(ada, browser)
    due_notice(ada, '𝄞\n"\x7f' * 600, url=f"/{'a' * 2_000}")
    push_due()
    [message] = service.to(browser)
    assert (len(message["text"]), message["url"]) == (500, None)
    assert all(len(request.body) <= 4_096 for request in service.received)


def test_keys_that_no_browser_has_are_deleted_and_do_not_stop_others(ada: Any, service: PushService) -> None:
    eve, browser = person("eve"), service.browser("phone")
    add(ada, service.browser())
    add(eve, browser)
    wrong_point = base64.urlsafe_b64encode(b"\4" + b"\1" * 64).rstrip(b"=").decode()
    PushSubscription.objects.filter(topic=f"user:{ada.pk}").update(key=wrong_point)
    for user in (ada, eve):
        due_notice(user, "Hello")
    push_due()
    assert texts(service.to(browser)) == ["Hello"]
    assert waiting(ada) == ["Hello"]
    assert [row.topic for row in PushSubscription.objects.all()] == [f"user:{eve.pk}"]


def eventually(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(600):
        if condition():
            return
        done.wait(0.05)
    raise AssertionError("It did not happen within 30 s.")


@pytest.mark.django_db(transaction=True)
def test_soon_after_a_notice_came_its_process_pushes_it_by_itself_unless_a_page_shows_it(
    ada: Any, service: PushService, settings: Any
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSH": {**settings.TELLTALE["PUSH"], "AFTER_S": 0.5}}
    browser = service.browser()
    add(ada, browser)
    eve, elsewhere = person("eve"), service.browser("elsewhere")
    add(eve, elsewhere)
    store.add_notice(f"user:{eve.pk}", "of another process", now=store.now() - 60)
    shown = telltale.notify(ada, "Shown")
    assert store.take_notice(shown.id, [f"user:{ada.pk}"])
    telltale.notify(ada, "Pushed")
    eventually(lambda: waiting(ada) == [] and service.to(browser) != [])
    assert texts(service.to(browser)) == ["Pushed"]
    telltale.notify(ada, "Later")
    eventually(lambda: len(service.to(browser)) == 2)
    assert service.to(elsewhere) == []
    eventually(lambda: not any(thread.name == "telltale-push" for thread in threading.enumerate()))


@pytest.mark.django_db(transaction=True)
def test_a_process_goes_on_pushing_after_a_setting_that_the_library_refused(
    ada: Any, service: PushService, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    right = {**settings.TELLTALE["PUSH"], "AFTER_S": 0.2}
    settings.TELLTALE = {**settings.TELLTALE, "PUSH": {**right, "VAPID_SUBJECT": "mailto:ada@intranet"}}
    browser = service.browser()
    add(ada, browser)
    telltale.notify(ada, "Waits")
    eventually(lambda: "Web push failed" in caplog.text)
    settings.TELLTALE = {**settings.TELLTALE, "PUSH": right}
    telltale.notify(ada, "Pushed")
    eventually(lambda: sorted(texts(service.to(browser))) == ["Pushed", "Waits"])
    eventually(lambda: not any(thread.name == "telltale-push" for thread in threading.enumerate()))


def test_a_failure_is_logged_without_the_browsers_address(
    ada: Any, service: PushService, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    closed = "http://127.0.0.1:1"
    settings.TELLTALE = {**settings.TELLTALE, "PUSH": {**settings.TELLTALE["PUSH"], "SERVICES": [closed]}}
    add(ada, PushBrowser(f"{closed}/push/a-secret-of-the-browser"))
    due_notice(ada, "Hello")
    assert push_due().failures == 1
    assert f"{closed} failed: ConnectionError" in caplog.text
    assert "a-secret-of-the-browser" not in caplog.text


def test_signing_out_forgets_this_browser_and_no_other(ada: Any, service: PushService, client: Client) -> None:
    laptop, phone = service.browser("laptop"), service.browser("phone")
    for browser, used in ((laptop, client), (phone, Client())):
        used.force_login(ada)
        url = "/telltale/push/subscribe/"
        answer = used.post(url, browser.subscription, content_type="application/json", headers={"Accept": "*/*"})
        assert answer.status_code == 200, answer.content
    client.logout()
    assert [row.endpoint for row in PushSubscription.objects.all()] == [phone.endpoint]
