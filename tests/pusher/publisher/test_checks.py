"""The system checks of a site that uses a Pusher service: each names the wrong setting and the fix, and no secret."""

import sys
import threading
from typing import Any

import pytest

from telltale import checks
from telltale.brokers import build

BROKER = "pusher://key-7:hush@eu/3"


def found(settings: Any, **given: Any) -> list[Any]:
    settings.TELLTALE = {"BROKER": "memory://", **given}
    return checks.check_settings()


def test_a_site_with_the_views_of_pusher_passes(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.pusher.site_urls"
    hooks = {"PUSHER_USER_INFO": "tests.pusher.site_urls.user_info"}
    assert found(settings, BROKER=BROKER, PUSHER_CHANNELS={"news": "public"}, **hooks) == []


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"PUSHER_CHANNELS": {"News": "public"}}, "['News']: no topic is of this kind", "kinds of your topics"),
        ({"PUSHER_CHANNELS": {"user": "public"}}, "['user']: these topics are Telltale's", "Remove this key"),
        ({"PUSHER_CHANNELS": {"news": "open"}}, "['news'] is 'open', which is no type", "public, private, presence"),
        ({"PUSHER_CHANNELS": {"letter": "private-encrypted"}}, "of 'letter' are encrypted", "secrets.token_bytes(32)"),
        ({"PUSHER_MASTER_KEY": "hush"}, "has 3 bytes, not 32", "secrets.token_bytes(32)"),
        ({"PUSHER_USER_INFO": "mysite.info"}, "'mysite.info', which can't be called", "(request) -> dict"),
        ({"PUSHER_WATCHLIST": "sys.path"}, "'sys.path', which can't be called", "(request) -> iterable"),
        ({"BROKER": "pusher://hush@eu/3"}, "key or its secret is missing", "pusher://"),
        ({"BROKER": "pusher://key-7:hush@eu/x"}, "must be a number", "pusher://"),
        ({"BROKER": f"{BROKER}?and=amqp://me:hush@host"}, "no broker has the scheme 'amqp'", "pusher://"),
    ],
)
def test_a_wrong_setting_is_named_with_its_fix(settings: Any, given: dict[str, Any], message: str, hint: str) -> None:
    settings.ROOT_URLCONF = "tests.pusher.site_urls"
    (error,) = found(settings, **given)
    assert message in error.msg
    assert hint in error.hint
    assert "hush" not in f"{error.msg} {error.hint}"


def test_a_site_whose_views_do_not_sign_is_warned(settings: Any) -> None:
    (warning,) = found(settings, BROKER=BROKER)
    assert warning.id == "telltale.W008"
    assert 'include("telltale.pusher.urls")' in warning.hint


def test_a_missing_library_is_named_with_its_extra(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "telltale.pusher.publisher.service", None)
    settings.ROOT_URLCONF = "tests.pusher.site_urls"
    (error,) = found(settings, BROKER=BROKER)
    assert "pip install 'django-telltale[pusher]'" in error.msg
    assert "hush" not in error.msg


def test_building_the_broker_starts_no_thread() -> None:
    before = threading.enumerate()
    broker = build(BROKER)
    assert threading.enumerate() == before
    broker.close()
