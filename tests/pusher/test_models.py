"""The apps' table and its admin: what can be saved is valid, secrets stay hidden, and a saved change takes effect."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from telltale.pusher.app_registry import find_by_id, registry
from telltale.pusher.app_rules import RULES
from telltale.pusher.app_settings import read_apps
from telltale.pusher.models import SETTINGS, App, apps
from telltale.pusher.pusher_apps import AppLimits, PusherApp, WebhookTarget
from tests.servers import ROOT
from tests.transports.sites import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_migrations_match_the_models() -> None:
    call_command("makemigrations", "telltale_pusher", check=True, dry_run=True, verbosity=0)


def test_a_new_app_has_an_id_a_key_and_a_secret_of_its_own() -> None:
    first, second = App.objects.create(name="a"), App.objects.create(name="b")
    first.full_clean()
    assert first.app_id.isdigit()
    assert len(first.secret) == 64
    assert {first.app_id, first.key, first.secret}.isdisjoint({second.app_id, second.key, second.secret})
    assert first.secret not in f"{first!r} {first}"


def test_a_row_becomes_an_app_with_all_its_columns() -> None:
    row = App.objects.create(
        name="Shop",
        app_id="7",
        key="k",
        secret="s",
        is_enabled=False,
        is_tls_only=True,
        has_client_events=False,
        has_subscription_counts=True,
        has_watchlists=False,
        activity_timeout_s=30,
        cache_s=60,
        webhook_settle_s=1,
        limits={"EVENT_BYTES": 20_000},
        webhooks=[{"URL": "https://example.com/", "EVENTS": ["cache_miss"]}],
    )
    row.full_clean()
    assert read_apps(apps(), "APPS").apps == [
        PusherApp(
            id="7",
            key="k",
            secret="s",
            is_enabled=False,
            is_tls_only=True,
            has_client_events=False,
            has_subscription_counts=True,
            has_watchlists=False,
            activity_timeout_s=30,
            cache_s=60.0,
            webhook_settle_s=1.0,
            limits=AppLimits(event_bytes=20_000),
            webhooks=(WebhookTarget(url="https://example.com/", events=frozenset({"cache_miss"})),),
        )
    ]


def test_the_defaults_of_the_table_are_those_of_settings() -> None:
    assert set(SETTINGS) == set(RULES)
    row = App(name="a", app_id="1", key="k", secret="s")
    assert read_apps([row.settings], "APPS").apps == [PusherApp(id="1", key="k", secret="s")]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("app_id", "a1", "This is 'a1'; it must be a string of digits"),
        ("key", "a:b", "This is 'a:b'; it must be"),
        ("secret", "a b", "This is wrong; it must be"),
        ("activity_timeout_s", 0, "This is 0; it must be an integer above 0"),
        ("cache_s", -1, "This is -1.0; it must be seconds"),
        ("limits", {"EVENT_BYTES": "x"}, "This['EVENT_BYTES'] is 'x'; it must be an integer above 0"),
        ("limits", {"EVENT_BYTE": 1}, "This has the unknown key 'EVENT_BYTE'"),
        ("webhooks", ["ftp://example.com"], "This[0]['URL'] is wrong; it must be an http:// or https:// address"),
    ],
)
def test_a_value_that_the_server_would_refuse_cannot_be_saved_by_a_form(column: str, value: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        App(name="a", **{column: value}).full_clean()
    assert list(caught.value.message_dict) == [column]
    assert caught.value.message_dict[column][0].startswith(text)


@pytest.mark.parametrize("column", ["app_id", "key"])
def test_ids_and_keys_are_unique_in_the_table(column: str) -> None:
    App.objects.create(name="a", **{column: "1"})
    with pytest.raises(IntegrityError):
        App.objects.create(name="b", **{column: "1"})


def test_the_table_can_be_the_source_of_the_apps(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("telltale.pusher.app_registry.REFRESH_S", 0.05)
    row = App.objects.create(name="a", app_id="1", key="k", secret="s")
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_APPS": "telltale.pusher.models.apps"}
    try:
        assert registry().load()
        assert find_by_id("1") == PusherApp(id="1", key="k", secret="s")
        App.objects.filter(pk=row.pk).update(secret="new")
        wait_until(lambda: (app := find_by_id("1")) and app.secret == "new", "the new secret is known")
        row.delete()
        wait_until(lambda: find_by_id("1") is None, "the removed app is unknown")
    finally:
        settings.TELLTALE = {}
        wait_until(lambda: registry().load(), "the thread is told to stop")


# The admin ----------------------------------------------------------------------------------------

CHANGE_LIST = "admin:telltale_pusher_app_changelist"


def signed_in(*permissions: str, is_superuser: bool = False) -> Client:
    user = User.objects.create_user(f"user-{len(permissions)}", is_staff=True, is_superuser=is_superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_an_app_is_added_with_a_generated_secret_which_its_page_shows() -> None:
    client = signed_in(is_superuser=True)
    form = client.get(reverse("admin:telltale_pusher_app_add")).context["adminform"].form
    given = {name: field.initial() if callable(field.initial) else field.initial for name, field in form.fields.items()}
    data = {name: value for name, value in given.items() if value is not None and value is not False}
    data |= {"name": "Shop", "limits": "{}", "webhooks": "[]"}
    assert client.post(reverse("admin:telltale_pusher_app_add"), data).status_code == 302
    app = App.objects.get()
    assert (app.name, len(app.secret), app.is_enabled, app.has_subscription_counts) == ("Shop", 64, True, False)
    assert app.secret in client.get(reverse("admin:telltale_pusher_app_change", args=[app.pk])).text


def test_lists_and_searches_never_show_secrets() -> None:
    app = App.objects.create(name="Shop")
    client = signed_in(is_superuser=True)
    for query in ("", "?q=Shop", f"?q={app.key}", "?is_enabled__exact=1"):
        page = client.get(reverse(CHANGE_LIST) + query).text
        assert app.key in page
        assert app.secret not in page
    assert app.key not in client.get(reverse(CHANGE_LIST), {"q": app.secret}).text


def test_people_who_may_only_look_see_no_secret() -> None:
    """A webhook's address and headers may hold one too."""
    app = App.objects.create(name="Shop", webhooks=["https://user:hush@example.com"])
    address = reverse("admin:telltale_pusher_app_change", args=[app.pk])
    page = signed_in("view_app").get(address).text
    assert app.key in page
    assert app.secret not in page
    assert "hush" not in page
    assert app.secret in signed_in("view_app", "change_app").get(address).text


def test_a_wrong_value_is_explained_in_the_form() -> None:
    app = App.objects.create(name="Shop")
    client = signed_in(is_superuser=True)
    data = {"name": "Shop", "app_id": "x", "key": app.key, "secret": app.secret, "activity_timeout_s": "120"}
    data |= {"cache_s": "1800", "webhook_settle_s": "3", "limits": '{"EVENT_BYTES": 0}', "webhooks": "[]"}
    page = client.post(reverse("admin:telltale_pusher_app_change", args=[app.pk]), data)
    errors = page.context["adminform"].form.errors
    assert set(errors) == {"app_id", "limits"}
    assert "it must be an integer above 0" in errors["limits"][0]


# Without the app ----------------------------------------------------------------------------------

WITHOUT = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "telltale"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TELLTALE={"BROKER": "memory://", "PUSHER_APPS": [{"ID": "1", "KEY": "k", "SECRET": "s"}]},
)
django.setup()
import sys
from django.apps import apps
from django.core.management import call_command
import telltale.asgi, telltale.pusher.server.server, telltale.pusher.server.api.http_api
from telltale.pusher.app_registry import find_by_id
assert find_by_id("1").key == "k"
assert "telltale.pusher.models" not in sys.modules
import telltale.pusher.models
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
assert [model.__name__ for model in apps.get_app_config("telltale").get_models() if model.__name__ == "App"] == []
call_command("migrate", verbosity=0)
try:
    telltale.pusher.models.apps()
except Exception as error:
    print(error)
"""


def test_telltale_works_without_the_tables_app() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    finished = subprocess.run([sys.executable, "-c", WITHOUT], env=env, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    expected = "The apps' table is missing: add 'telltale.pusher' to INSTALLED_APPS and migrate."
    assert finished.stdout.strip() == expected
