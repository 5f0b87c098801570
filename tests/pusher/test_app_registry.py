"""The apps of a process: lookups never wait, and what a site's own function returns takes effect within seconds."""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale import checks, native
from telltale.checks.settings import PUSHER_TABLE
from telltale.pusher import app_registry
from telltale.pusher.app_registry import AppRegistry, build, find_by_id, find_by_key, registry
from telltale.pusher.pusher_apps import PusherApp
from tests.transports.sites import wait_until

APP = {"ID": "1", "KEY": "app-key", "SECRET": "hush"}


class Site:
    """A site's own apps, as a function returns them."""

    def __init__(self) -> None:
        self.apps: list[Any] = [APP]
        self.error: Exception | None = None
        self.calls: list[int] = []
        """The threads of the calls."""
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self) -> list[Any]:
        self.calls.append(threading.get_ident())
        self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return list(self.apps)


SITE = Site()


def has_thread() -> bool:
    return any(thread.name == "telltale-pusher-apps" for thread in threading.enumerate())


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site of `a_registry` and of the setting; its function is called often."""
    wait_until(lambda: not has_thread(), "the registries of other tests end")
    monkeypatch.setattr(app_registry, "REFRESH_S", 0.01)
    SITE.__init__()  # type: ignore[misc]
    yield SITE
    SITE.may_answer.set()


@pytest.fixture
def a_registry(site: Site) -> Iterator[AppRegistry]:
    built = AppRegistry(source=site)
    yield built
    built.close()


def read_again(site: Site) -> None:
    """Wait until the function was called, and its answer used."""
    calls = len(site.calls)
    wait_until(lambda: len(site.calls) >= calls + 2, "the apps are read again")


def test_a_thread_that_could_not_be_started_is_started_by_the_next_who_asks(
    a_registry: AppRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(native, "start_thread", no_thread)
        assert not a_registry.load()
        assert not asyncio.run(a_registry.wait())
    assert a_registry.load()
    assert a_registry.find_by_id("1")
    assert "can't start new thread" in caplog.text


# A list -----------------------------------------------------------------------------------------


def test_the_apps_of_settings_are_found_by_key_and_by_id(settings: Any) -> None:
    settings.TELLTALE = {"PUSHER_APPS": [APP, {**APP, "ID": "2", "KEY": "other", "IS_ENABLED": False}]}
    app = find_by_key("app-key")
    assert app == PusherApp(id="1", key="app-key", secret="hush")
    assert find_by_id("1") is app
    assert (find_by_key("unknown"), find_by_id("app-key"), find_by_key("1")) == (None, None, None)
    disabled = find_by_id("2")
    assert disabled is not None
    assert not disabled.is_enabled
    assert registry().load()


def test_a_changed_setting_is_used_at_once(settings: Any) -> None:
    settings.TELLTALE = {"PUSHER_APPS": [APP]}
    assert find_by_id("1")
    settings.TELLTALE = {"PUSHER_APPS": [{**APP, "ID": "2"}]}
    assert (find_by_id("1"), find_by_key("app-key")) == (None, find_by_id("2"))


def test_without_the_setting_there_are_no_apps(settings: Any) -> None:
    settings.TELLTALE = {}
    assert (find_by_id("1"), registry().apps(), registry().load()) == (None, [], True)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([{**APP, "KEY": "a:b"}], "TELLTALE['PUSHER_APPS'][0]['KEY'] is 'a:b'; it must be"),
        ([APP, APP], "TELLTALE['PUSHER_APPS'][1]['ID'] is '1', as in TELLTALE['PUSHER_APPS'][0]."),
        (
            APP,
            "TELLTALE['PUSHER_APPS'] has the type dict; it must be a list of dicts, or the dotted path of a function.",
        ),
        (7, "TELLTALE['PUSHER_APPS'] has the type int"),
        ("nonsense", "TELLTALE['PUSHER_APPS'] is 'nonsense'"),
        ("tests.pusher.nothing.apps", "Use the dotted path of a function that returns the apps."),
        ("telltale.pusher.app_registry.REFRESH_S", "which can't be called"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start_and_by_a_check(settings: Any, given: Any, text: str) -> None:
    settings.TELLTALE = {"PUSHER_APPS": given}
    with pytest.raises(ImproperlyConfigured) as caught:
        registry()
    assert text in str(caught.value)
    assert "hush" not in str(caught.value)
    assert checks.check_settings() == []
    messages = [f"{message.msg} {message.hint}" for message in checks.check_pusher_apps()]
    assert any(text in message for message in messages)
    assert not any("hush" in message for message in messages)
    assert {message.id for message in checks.check_pusher_apps()} == {"telltale.E009"}


@pytest.mark.parametrize("given", [None, [], [APP], (APP,), "tests.pusher.test_app_registry.SITE"])
def test_right_settings_pass_the_check_and_no_function_is_called(site: Site, settings: Any, given: Any) -> None:
    settings.TELLTALE = {"PUSHER_APPS": given}
    assert checks.check_settings() == checks.check_pusher_apps() == []
    assert site.calls == []


def test_the_table_needs_its_app(settings: Any) -> None:
    settings.TELLTALE = {"PUSHER_APPS": PUSHER_TABLE}
    assert checks.check_pusher_apps() == []
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "telltale.pusher"]
    (message,) = checks.check_pusher_apps()
    assert message.hint == "Add 'telltale.pusher' to INSTALLED_APPS, and migrate."


# A function ---------------------------------------------------------------------------------------


def test_a_function_is_called_in_a_thread_at_the_first_use(site: Site, a_registry: AppRegistry) -> None:
    assert site.calls == []
    assert a_registry.find_by_id("1") is None
    assert a_registry.load()
    assert a_registry.find_by_key("app-key") == a_registry.find_by_id("1") != None  # noqa: E711 (one chain)
    assert threading.get_ident() not in site.calls


def test_the_setting_may_name_the_function(site: Site, settings: Any) -> None:
    settings.TELLTALE = {"PUSHER_APPS": "tests.pusher.test_app_registry.SITE"}
    assert registry().load()
    assert find_by_id("1") is not None
    settings.TELLTALE = {}
    read = len(site.calls)
    wait_until(lambda: not has_thread(), "the thread ends")
    assert len(site.calls) <= read + 1


def test_lookups_do_not_wait_for_a_function_that_hangs(site: Site, a_registry: AppRegistry) -> None:
    """A lookup on the event loop is never a query."""
    a_registry.load()
    site.may_answer.clear()
    calls = len(site.calls)
    wait_until(lambda: len(site.calls) > calls, "the function is called")
    assert a_registry.find_by_key("app-key") is not None
    assert a_registry.load()


def test_the_event_loop_is_free_while_the_first_reading_is_awaited(site: Site, a_registry: AppRegistry) -> None:
    site.may_answer.clear()

    async def wait() -> list[bool]:
        waiting = [asyncio.ensure_future(a_registry.wait()) for _ in range(50)]
        await asyncio.to_thread(wait_until, lambda: site.calls, "the function is called")
        assert not any(future.done() for future in waiting)
        site.may_answer.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(wait()) == [True] * 50


def test_new_changed_and_removed_apps_take_effect(site: Site, a_registry: AppRegistry) -> None:
    a_registry.load()
    changes: list[tuple[PusherApp, PusherApp | None]] = []
    end = a_registry.subscribe(lambda app, now: changes.append((app, now)))
    old = a_registry.find_by_id("1")
    site.apps = [{**APP, "SECRET": "new"}, {**APP, "ID": "2", "KEY": "k2"}]
    wait_until(lambda: a_registry.find_by_id("2"), "the new app is known")
    new = a_registry.find_by_id("1")
    assert new is not None
    assert new.secret == "new"
    site.apps = [{**APP, "SECRET": "new", "IS_ENABLED": False}]
    wait_until(lambda: a_registry.find_by_id("2") is None, "the removed app is unknown")
    disabled = a_registry.find_by_id("1")
    wait_until(lambda: len(changes) == 3, "the changes are told")
    assert changes[:2] == [(old, new), (new, disabled)]
    assert (changes[2][0].id, changes[2][1]) == ("2", None)
    end()
    site.apps = []
    wait_until(lambda: not a_registry.apps(), "all apps are removed")
    read_again(site)
    assert len(changes) == 3


def test_a_listener_that_raises_harms_no_other(
    site: Site, a_registry: AppRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    a_registry.load()
    told: list[str] = []

    def fail(app: PusherApp, now: PusherApp | None) -> None:
        raise RuntimeError

    a_registry.subscribe(fail)
    a_registry.subscribe(lambda app, now: told.append(app.id))
    site.apps = []
    wait_until(lambda: told == ["1"], "the other listener is told")
    assert "A change of the app 1 was not handled." in caplog.text
    site.apps = [APP]
    wait_until(lambda: a_registry.find_by_id("1"), "the apps are still read")


def test_the_apps_stay_while_the_function_fails(
    site: Site, a_registry: AppRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged when the failure begins and when it ends."""
    a_registry.load()
    site.error = OSError("The database is down.")
    read_again(site)
    read_again(site)
    assert a_registry.find_by_id("1") is not None
    site.error, site.apps = None, [APP, {**APP, "ID": "2", "KEY": "k2"}]
    wait_until(lambda: a_registry.find_by_id("2"), "the function is asked again")
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2
    assert "failed: OSError('The database is down.'). The apps that were read last stay valid." in lines[0]
    assert "works again" in lines[1]


def test_a_function_that_fails_at_first_is_asked_again(site: Site, a_registry: AppRegistry) -> None:
    site.error = OSError("The database is down.")
    assert not a_registry.load()
    assert asyncio.run(a_registry.wait()) is False
    site.error = None
    wait_until(lambda: a_registry.are_known, "the function is asked again")
    assert a_registry.find_by_id("1") is not None


def test_a_wrong_app_is_left_out_and_logged_once(
    site: Site, a_registry: AppRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    site.apps = [{**APP, "ID": "2", "KEY": "a:b"}, APP, "nonsense"]
    a_registry.load()
    read_again(site)
    assert [app.id for app in a_registry.apps()] == ["1"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("An app is left out: TELLTALE['PUSHER_APPS']()[0]['KEY'] is 'a:b'; it must be")
    assert lines[1].startswith("An app is left out: TELLTALE['PUSHER_APPS']()[2] has the type str; it must be a dict.")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_reads_the_apps_itself(site: Site, settings: Any) -> None:
    settings.TELLTALE = {"PUSHER_APPS": "tests.pusher.test_app_registry.SITE"}
    assert registry().load()
    child = os.fork()
    if not child:
        exit_code = 1
        try:
            before = len(site.calls)
            exit_code = 0 if registry().load() and len(site.calls) > before and find_by_id("1") else 1
        finally:
            os._exit(exit_code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_registry_that_is_built_calls_nothing(site: Site) -> None:
    build("tests.pusher.test_app_registry.SITE")
    assert site.calls == []
