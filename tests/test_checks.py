"""The system checks: each names the wrong setting and the fix."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, models

from telltale import checks
from tests.servers import ROOT


def test_the_settings_of_the_tests_pass_all_checks() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"BROKR": "local://"}, "TELLTALE has the unknown key 'BROKR'", "Did you mean 'BROKER'?"),
        ({"BEAT_S": "often"}, "TELLTALE['BEAT_S'] is 'often'; it must be a number", "Without this key, it is 8.0."),
        ({"BEAT_S": 0}, "TELLTALE['BEAT_S'] is 0; it must be above 0", "Without this key, it is 8.0."),
    ],
)
def test_a_wrong_setting_is_named_with_its_fix(settings: Any, given: dict[str, Any], message: str, hint: str) -> None:
    settings.TELLTALE = given
    (error,) = checks.check_settings()
    assert message in error.msg
    assert hint in str(error.hint)


@pytest.mark.parametrize(
    ("middleware", "message"),
    [
        ([], "actors' tasks will not be shown"),
        (
            ["dramatiq.middleware.Retries", "telltale.runners.dramatiq.TelltaleMiddleware"],
            "tasks of pipelines will have no owner",
        ),
    ],
)
def test_telltales_middleware_for_dramatiq_must_be_the_first(
    settings: Any, middleware: list[str], message: str
) -> None:
    settings.DRAMATIQ_BROKER = {"MIDDLEWARE": middleware}
    (warning,) = checks.check_dramatiq()
    assert message in warning.msg
    assert "Put 'telltale.runners.dramatiq.TelltaleMiddleware' first" in str(warning.hint)


@pytest.mark.parametrize(("max_length", "count"), [(None, 1), (508, 1), (507, 0), (150, 0)])
def test_a_text_key_that_no_topic_carries_is_named_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, max_length: int | None, count: int
) -> None:
    key = models.CharField(max_length=max_length)
    monkeypatch.setattr(get_user_model()._meta, "pk", key)
    found = checks.check_user_key()
    assert len(found) == count
    assert all("max_length=507" in str(warning.hint) for warning in found)


def test_follow_must_be_a_dict(settings: Any) -> None:
    settings.TELLTALE = {"FOLLOW": ["newsletter.*"]}
    (error,) = checks.check_settings()
    assert "TELLTALE['FOLLOW'] is ['newsletter.*']; it must be a dict" in error.msg


def test_a_sqlite_that_is_too_old_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 31, 1))
    found = [message for message in checks.check_sqlite() if message.id == "telltale.E008"]
    assert len(found) == (1 if connection.vendor == "sqlite" else 0)


HIDES = """
import sys
sys.modules[{library!r}] = None  # as if it were not installed
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "telltale"],
    TELLTALE={telltale!r}, SECRET_KEY="x", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
execute_from_command_line(["manage.py", "check"])
"""


def check_without(library: str, telltale: dict[str, object]) -> "subprocess.CompletedProcess[str]":
    """Run `check` in a process that can't import the library."""
    code = HIDES.format(library=library, telltale=telltale)
    environment = os.environ | {"PYTHONPATH": "src"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)


def test_a_runner_without_its_library_is_an_error_of_check() -> None:
    checked = check_without("celery", {"RUNNERS": ["celery"]})
    assert checked.returncode == 1
    assert "Traceback" not in checked.stderr
    assert "(telltale.E015) TELLTALE['RUNNERS'] names 'celery', which can't be imported" in checked.stderr
    assert 'pip install "django-telltale[celery]"' in checked.stderr


def test_patterns_of_tasks_to_follow_without_a_runner_that_follows_names_are_a_warning(settings: Any) -> None:
    settings.TELLTALE = {"FOLLOW": {"newsletter.tasks.*": None}, "RUNNERS": ["thread", "channels"]}
    (warning,) = checks.check_runners()
    assert (warning.id, "channels, thread" in warning.msg) == ("telltale.W009", True)
    settings.TELLTALE = {"RUNNERS": ["thread", "channels"]}
    assert checks.check_runners() == []


@pytest.mark.parametrize("runner", ["celery", "django_tasks", "rq", "dramatiq", "huey", "django_q"])
def test_patterns_of_tasks_to_follow_need_only_one_runner_that_follows_names(settings: Any, runner: str) -> None:
    settings.TELLTALE = {"FOLLOW": {"newsletter.tasks.*": None}, "RUNNERS": ["thread", runner]}
    assert checks.check_runners() == []
