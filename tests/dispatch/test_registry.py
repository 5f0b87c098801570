"""Which runners a process has, and the errors about runners that it has not."""

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import telltale
from telltale.dispatch import registry
from telltale.dispatch.runner import Runner
from telltale.runners.threads import ThreadRunner
from tests.app import celery_tasks, django_tasks, thread_tasks


def names() -> list[str]:
    return [runner.name for runner in registry.all_runners()]


class TestRunner(ThreadRunner):
    """A third-party runner, found by its dotted path."""

    __test__ = False
    name = "tests"


def test_all_importable_runners_are_installed_and_the_thread_runner_is_last() -> None:
    installed = [name for name in names() if name != "procrastinate"]
    assert installed[-1] == "thread"
    assert sorted(installed) == ["celery", "channels", "django_q", "django_tasks", "dramatiq", "huey", "rq", "thread"]


def test_a_runner_with_its_own_tables_is_installed_only_with_its_app() -> None:
    assert "procrastinate" in registry.known()
    assert registry.by_name("procrastinate") is None or settings.POSTGRES


def test_the_setting_selects_the_runners(settings: Any) -> None:
    settings.TELLTALE = {"RUNNERS": ("thread", "celery")}
    assert names() == ["celery", "thread"]
    assert registry.by_name("django_tasks") is None


def test_the_setting_accepts_a_dotted_path(settings: Any) -> None:
    settings.TELLTALE = {"RUNNERS": [f"{__name__}.TestRunner"]}
    assert names() == ["tests"]


def test_another_package_adds_a_runner_by_an_entry_point(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shop_runner-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-runner\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[{registry.ENTRY_POINTS}]\nshop = {__name__}:TestRunner\ncelery = {__name__}:TestRunner\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.TELLTALE = {"RUNNERS": ["shop"]}
    assert names() == ["tests"]
    assert registry.known()["celery"] == "telltale.runners.celery:CeleryRunner"
    settings.TELLTALE = {}
    assert {"tests", "celery"} <= set(names())


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("cellery", "Use one of celery, channels, django_q, django_tasks, dramatiq, huey, procrastinate, rq, thread"),
        ("tests.nowhere.Runner", "Check the path, or remove the name"),
    ],
)
def test_a_wrong_name_is_an_error_that_says_what_to_change(settings: Any, name: str, mend: str) -> None:
    settings.TELLTALE = {"RUNNERS": [name]}
    with pytest.raises(ImproperlyConfigured, match=mend):
        registry.all_runners()


def test_a_missing_library_is_an_error_that_names_the_extra(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "celery", "telltale.runners.no_such_library:CeleryRunner")
    settings.TELLTALE = {"RUNNERS": ["celery"]}
    with pytest.raises(ImproperlyConfigured, match=r'pip install "django-telltale\[celery\]"'):
        registry.all_runners()
    settings.TELLTALE = {}
    assert "celery" not in names()


@pytest.mark.parametrize(
    ("task", "runner"),
    [(celery_tasks.count, "celery"), (django_tasks.count, "django_tasks"), (thread_tasks.count, "thread")],
)
def test_each_kind_of_task_belongs_to_its_runner(task: object, runner: str) -> None:
    assert registry.runner_of(task).name == runner


@pytest.mark.parametrize("task", [print, "tests.app.thread_tasks.count", lambda: None])
def test_a_task_without_a_runner_is_an_error_that_names_the_decorator(task: object) -> None:
    with pytest.raises(TypeError, match=r"Decorate the function with @telltale\.tracked"):
        registry.runner_of(task)


def test_installing_twice_connects_the_signals_once() -> None:
    from celery.signals import before_task_publish

    registry.install()
    before = len(before_task_publish.receivers or [])
    registry.install()
    assert len(before_task_publish.receivers or []) == before


def test_a_function_for_a_runner_that_is_not_there_is_an_error_that_says_how_to_add_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = telltale.tracked(runner="django_q")(lambda: None)
    # Not by INSTALLED_APPS: that would load all apps anew, which Procrastinate's refuses.
    monkeypatch.delitem(apps.app_configs, "django_q")
    settings.TELLTALE = {}
    steps = r"""pip install "django-telltale\[q2\]", add 'django_q' to INSTALLED_APPS\."""
    with pytest.raises(
        ImproperlyConfigured, match=rf"has runner='django_q', which is not available\. To use it: {steps}"
    ):
        registry.runner_of(task)


def test_a_function_for_a_runner_that_the_setting_leaves_out_names_the_setting(settings: Any) -> None:
    settings.TELLTALE = {"RUNNERS": ["thread"]}
    with pytest.raises(ImproperlyConfigured, match=r"add 'rq' to TELLTALE\['RUNNERS'\]"):
        registry.runner_of(telltale.tracked(runner="rq")(lambda: None))


def test_a_function_for_a_runner_that_does_not_exist_is_an_error_that_lists_those_that_do() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"has runner='celerry', which is not available\. Use one of celery, "
    ):
        registry.runner_of(telltale.tracked(runner="celerry")(lambda: None))


def test_a_wrong_setting_is_logged_at_the_start_so_that_the_checks_can_run(settings: Any, caplog: Any) -> None:
    settings.TELLTALE = {"RUNNERS": ["cellery"]}
    registry.install()
    assert "No runner is installed: TELLTALE['RUNNERS'] names 'cellery'" in caplog.text


@pytest.mark.parametrize("runner", registry.all_runners(), ids=lambda runner: runner.name)
def test_there_is_no_current_call_outside_a_run(runner: Runner) -> None:
    assert runner.current_call() is None
