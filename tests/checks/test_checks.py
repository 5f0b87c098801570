"""The system checks: each names the wrong setting and the fix."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import ERROR
from django.core.management import call_command
from django.db import connection, models

from telltale import checks
from tests.servers import ROOT


@pytest.mark.django_db  # Django's own check of a JSON field asks the database.
def test_the_settings_of_the_tests_pass_all_checks() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"BROKR": "local://"}, "TELLTALE has the unknown key 'BROKR'", "Did you mean 'BROKER'?"),
        ({"BEAT_S": "often"}, "TELLTALE['BEAT_S'] is 'often'; it must be a number", "Without this key, it is 8.0."),
        ({"BEAT_S": 0}, "TELLTALE['BEAT_S'] is 0; it must be above 0", "Without this key, it is 8.0."),
        ({"CAN_FOLLOW": "nowhere.rule"}, "TELLTALE['CAN_FOLLOW'] is 'nowhere.rule'", "(request, topic) -> bool"),
        ({"CAN_ACT": "nowhere.rule"}, "TELLTALE['CAN_ACT'] is 'nowhere.rule'", "(request, topic, action) -> bool"),
        ({"SHOWN_ARGUMENTS": "os.sep"}, "TELLTALE['SHOWN_ARGUMENTS'] is 'os.sep', which can't be called", "(task, "),
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


GOOD_OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}


@pytest.mark.parametrize(
    ("database", "problem", "fix"),
    [
        ({"OPTIONS": GOOD_OPTIONS | {"transaction_mode": None}}, "take the write lock late", "'IMMEDIATE'"),
        ({"OPTIONS": GOOD_OPTIONS | {"init_command": None}}, "has no write-ahead log", "'PRAGMA journal_mode=WAL;"),
        ({"OPTIONS": GOOD_OPTIONS | {"timeout": 1}}, "waits only 1 s for a lock", "['timeout'] = 20"),
        ({"OPTIONS": GOOD_OPTIONS, "ATOMIC_REQUESTS": True}, "only write lock", "Remove ATOMIC_REQUESTS"),
    ],
)
def test_what_sqlite_needs_is_asked_for_by_an_error(
    settings: Any, monkeypatch: pytest.MonkeyPatch, database: dict[str, Any], problem: str, fix: str
) -> None:
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
    monkeypatch.setitem(settings.DATABASES, "default", engine | {"OPTIONS": GOOD_OPTIONS})
    assert checks.check_sqlite() == []
    monkeypatch.setitem(settings.DATABASES, "default", engine | database)
    (error,) = checks.check_sqlite()
    assert error.level == ERROR
    assert problem in error.msg
    assert fix in str(error.hint).replace('"', "'")


class UsersInMain:
    """Writes users to another database than "default"."""

    def db_for_write(self, model: Any, **_hints: Any) -> str | None:
        return "main" if model._meta.app_label == "auth" else None


class NoTablesOfTelltale:
    """Lets no table of Telltale be made in "default"."""

    def allow_migrate(self, alias: str, app_label: str, **_hints: Any) -> bool | None:
        return False if (alias, app_label) == ("default", "telltale") else None


def test_tables_in_another_database_than_the_users_are_refused_with_the_fix(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.DATABASES, "main", settings.DATABASES["default"])
    settings.TELLTALE = {**settings.TELLTALE, "DATABASE": "main"}
    (error,) = checks.check_database()
    assert error.level == ERROR
    assert "TELLTALE['DATABASE'] is 'main', but users are written to 'default'" in error.msg
    assert "Set TELLTALE['DATABASE'] to 'default'" in str(error.hint)
    settings.DATABASE_ROUTERS = ["tests.checks.test_checks.UsersInMain"]
    assert checks.check_database() == []
    settings.TELLTALE = {**settings.TELLTALE, "DATABASE": "default"}
    (error,) = checks.check_database()
    assert "Set TELLTALE['DATABASE'] to 'main'" in str(error.hint)


def test_routers_that_keep_the_tables_out_of_the_database_are_named(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.checks.test_checks.NoTablesOfTelltale"]
    (error,) = checks.check_database()
    assert "The database routers allow no tables of Telltale in 'default'" in error.msg


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
