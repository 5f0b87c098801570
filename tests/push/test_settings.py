"""`PUSH` is checked, with the fix; the commands make keys, push, and say what failed."""

import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import telltale
from telltale import checks, store
from telltale.models import PushSubscription, StoredNotice
from telltale.push.options import public_key_of
from tests.factories import person
from tests.push.service import PRIVATE_KEY, PushService
from tests.push.test_delivery import add

WHOLE = {"VAPID_PRIVATE_KEY": PRIVATE_KEY, "VAPID_SUBJECT": "mailto:ada@example.com"}


@pytest.mark.parametrize(
    ("push", "message", "hint"),
    [
        ({}, "has no VAPID_PRIVATE_KEY", "push-keys"),
        ({"VAPID_SUBJECT": WHOLE["VAPID_SUBJECT"]}, "has no VAPID_PRIVATE_KEY", "push-keys"),
        ({**WHOLE, "VAPID_PRIVATE_KEY": "c2VjcmV0"}, "can't be used", "push-keys"),
        ({**WHOLE, "VAPID_PRIVATE_KEY": "A" * 43}, "can't be used", "push-keys"),
        ({"VAPID_PRIVATE_KEY": PRIVATE_KEY}, "VAPID_SUBJECT None", "mailto:"),
        ({**WHOLE, "VAPID_SUBJECT": "ada@example.com"}, "VAPID_SUBJECT 'ada@example.com'", "mailto:"),
        ({**WHOLE, "VAPID_SUBJECT": "mailto:ada@intranet"}, "VAPID_SUBJECT 'mailto:ada@intranet'", "a dot"),
        ({**WHOLE, "VAPID_KEY": "x"}, "unknown key 'VAPID_KEY'", "VAPID_PRIVATE_KEY, VAPID_SUBJECT"),
        ({**WHOLE, "AFTER_S": 0}, "AFTER_S = 0", "Use seconds"),
        ({**WHOLE, "SERVICES": "push.example.org"}, "SERVICES = 'push.example.org'", "list of hosts"),
        ({**WHOLE, "SERVICES": ["*"]}, "SERVICES = ['*']", "list of hosts"),
    ],
)
def test_a_setting_that_is_half_or_wrong_is_named_with_its_fix_and_without_the_key(
    settings: Any, push: dict[str, Any], message: str, hint: str
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    settings.TELLTALE = {"PUSH": push}
    errors = [error for error in checks.check_push() if message in error.msg]
    assert [error.id for error in errors] == ["telltale.E022"]
    assert hint in str(errors[0].hint)
    assert not any("c2VjcmV0" in f"{error.msg}{error.hint}" for error in errors)


def test_a_whole_setting_has_no_problem_by_https_and_one_by_http(settings: Any) -> None:
    settings.TELLTALE = {"PUSH": WHOLE}
    [warning] = checks.check_push()
    assert (warning.id, "https" in warning.msg) == ("telltale.W013", True)
    settings.SESSION_COOKIE_SECURE = True
    assert checks.check_push() == []
    settings.TELLTALE = {"PUSH": "x"}
    assert checks.check_push() == []
    assert any("it must be a dict" in error.msg for error in checks.check_settings())


def test_without_the_packages_the_check_and_the_command_say_what_to_install(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TELLTALE = {"PUSH": WHOLE}
    monkeypatch.setattr("telltale.checks.push.find_spec", lambda name: None)
    assert "pip install django-telltale[push]" in str(checks.check_push()[0].hint)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(CommandError, match=r"pip install django-telltale\[push\]"):
        call_command("telltale", "push-keys")


def test_push_keys_prints_a_setting_that_passes_the_check(settings: Any) -> None:
    out = StringIO()
    call_command("telltale", "push-keys", stdout=out)
    line, public, _ = out.getvalue().splitlines()
    found: dict[str, Any] = {}
    exec(f"TELLTALE = {{}}\n{line}", found)  # noqa: S102 (what the command prints for settings.py)
    settings.TELLTALE, settings.SESSION_COOKIE_SECURE = found["TELLTALE"], True
    assert checks.check_push() == []
    assert public.endswith(public_key_of(found["TELLTALE"]["PUSH"]["VAPID_PRIVATE_KEY"]))


@pytest.mark.django_db
def test_the_command_pushes_before_it_mails_and_fails_if_a_service_did(service: PushService, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "UNSEEN": "telltale.unseen.mail"}
    ada, browser, out = person("ada", email="ada@example.com"), service.browser(), StringIO()
    add(ada, browser)
    telltale.notify(ada, "Hello")
    StoredNotice.objects.update(created_at=store.now() - 4_000)
    call_command("telltale", "unseen", stdout=out)
    assert out.getvalue() == "Pushed 1 notices.\nHanded over 0 notices of 0 users.\n"
    assert [message["text"] for message in service.to(browser)] == ["Hello"]
    telltale.notify(ada, "Again")
    StoredNotice.objects.filter(shown_at=None).update(created_at=store.now() - 3_700)
    service.answer(browser, 500)
    settings.TELLTALE = {**settings.TELLTALE, "UNSEEN": None}
    with pytest.raises(CommandError, match="1 push messages failed"):
        call_command("telltale", "unseen", stdout=out)


@pytest.mark.django_db(transaction=True)
def test_with_every_the_command_goes_on_also_after_a_failure_until_it_is_stopped(
    service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, browser, pauses_s = person("ada"), service.browser(), []
    add(ada, browser)
    telltale.notify(ada, "Hello")
    StoredNotice.objects.update(created_at=store.now() - 4_000)
    service.answer(browser, 500)

    def pause(seconds: float) -> None:
        pauses_s.append(seconds)
        if len(pauses_s) == 3:
            raise KeyboardInterrupt
        service.answers.clear()
        PushSubscription.objects.update(retry_at=None)

    monkeypatch.setattr("telltale.management.unseen.command.sleep", pause)
    out = StringIO()
    with pytest.raises(KeyboardInterrupt):
        call_command("telltale", "unseen", "--every", "10", stdout=out)
    assert pauses_s == [10.0] * 3
    assert out.getvalue().splitlines() == ["Pushed 0 notices.", "Pushed 1 notices.", "Pushed 0 notices."]
