"""The system checks: each says what is wrong and how to mend it."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from telltale import checks


def test_the_tests_own_settings_pass_them_all() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        ({"BROKR": "local://"}, "TELLTALE has the key 'BROKR'", "Did you mean 'BROKER'?"),
        ({"BEAT_S": "often"}, "TELLTALE['BEAT_S'] is 'often', and should be", "Leave it out, and it is 8.0."),
        ({"BEAT_S": 0}, "TELLTALE['BEAT_S'] is 0, and should be above 0", "Leave it out, and it is 8.0."),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(settings: Any, given: dict[str, Any], said: str, hint: str) -> None:
    settings.TELLTALE = given
    (error,) = checks.check_settings()
    assert said in error.msg
    assert hint in str(error.hint)


@pytest.mark.parametrize(
    ("middleware", "said"),
    [
        ([], "Actors' runs will not be shown"),
        (["dramatiq.middleware.Retries", "telltale.runners.dramatiq.TelltaleMiddleware"], "Pipelines will lose"),
    ],
)
def test_dramatiqs_middleware_is_to_be_its_first(settings: Any, middleware: list[str], said: str) -> None:
    settings.DRAMATIQ_BROKER = {"MIDDLEWARE": middleware}
    (warning,) = checks.check_dramatiq()
    assert said in warning.msg
    assert "Put 'telltale.runners.dramatiq.TelltaleMiddleware' first" in str(warning.hint)


def test_a_pattern_to_follow_is_a_dict(settings: Any) -> None:
    settings.TELLTALE = {"FOLLOW": ["newsletter.*"]}
    (error,) = checks.check_settings()
    assert "TELLTALE['FOLLOW'] is ['newsletter.*'], and should be" in error.msg


def test_a_sqlite_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 31, 1))
    found = [message for message in checks.check_sqlite() if message.id == "telltale.E008"]
    assert len(found) == (1 if connection.vendor == "sqlite" else 0)
