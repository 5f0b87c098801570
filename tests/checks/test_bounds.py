"""Settings that lose healthy tasks or keep a machine busy are named by `check`, with the reason and the fix."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import ERROR, WARNING

from telltale import checks
from telltale.checks.bounds import BOUNDS, ORDERS, Order, check_bounds
from telltale.conf import FIELD_BY_KEY, Settings


def test_every_time_and_rate_has_bounds_and_the_defaults_are_within() -> None:
    times = {key for key in FIELD_BY_KEY if key.endswith("_S")}
    assert set(BOUNDS) == times
    assert list(check_bounds(Settings())) == []


@pytest.mark.parametrize("key", BOUNDS)
def test_a_value_out_of_its_bounds_is_an_error_with_the_reason(key: str) -> None:
    bound = BOUNDS[key]
    for value in (bound.least, bound.most):
        assert _errors_about(key, {key: value}) == []
    for value in (bound.least * 0.9, bound.most * 1.1):
        if value == math.inf:
            continue
        (error,) = _errors_about(key, {key: value})
        assert error.level == ERROR
        assert error.msg == f"TELLTALE['{key}'] is {value:g}: {bound.why}."
        assert "Use " in str(error.hint)


def _errors_about(key: str, given: dict[str, Any]) -> list[Any]:
    settings = Settings(**{FIELD_BY_KEY[name]: value for name, value in given.items()})
    return [message for message in check_bounds(settings) if f"TELLTALE['{key}']" in message.msg]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.small}-{order.great}")
def test_two_settings_in_the_wrong_order_are_named_with_the_reason(order: Order) -> None:
    great = 40.0
    for small, count in ((great / order.times, 0), (great / order.times + 0.1, 1)):
        settings = Settings(**{FIELD_BY_KEY[order.small]: small, FIELD_BY_KEY[order.great]: great})
        found = [
            message
            for message in check_bounds(settings)
            if f"{order.small} = {small:g} and {order.great}" in message.msg
        ]
        assert len(found) == count
        assert all(message.level == order.level for message in found)
        assert all(f"{order.great} must be at least {order.times:g} times" in str(message.hint) for message in found)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"SAVE_EVERY_S": 200.0}, "SAVE_EVERY_S"),
        ({"PUBLISH_EVERY_S": 120.0}, "PUBLISH_EVERY_S"),
        ({"BEAT_S": 40.0}, "BEAT_S"),
        ({"RECHECK_S": 0.001}, "RECHECK_S"),
        ({"TICKET_S": 1}, "TICKET_S"),
        ({"LONG_POLL_S": 600}, "LONG_POLL_S"),
        ({"POLL_S": 0.01}, "POLL_S"),
        ({"FOLLOW": {"x": 5}}, "FOLLOW"),
    ],
)
def test_settings_that_lose_healthy_tasks_or_keep_a_core_busy_do_not_pass(
    settings: Any, given: dict[str, Any], named: str
) -> None:
    settings.TELLTALE = given
    errors = [message for message in checks.check_settings() if message.level == ERROR]
    assert errors
    assert all(named in error.msg for error in errors)


def test_a_directory_of_local_that_others_may_enter_is_named(settings: Any, tmp_path: Path) -> None:
    settings.TELLTALE = {"BROKER": f"local://{tmp_path}"}
    os.chmod(tmp_path, 0o755)  # noqa: S103 (that is the problem)
    (warning,) = checks.check_settings()
    assert warning.level == WARNING
    assert "has mode 0755, so other users may enter it" in warning.msg
    os.chmod(tmp_path, 0o700)
    assert checks.check_settings() == []


def test_a_broker_that_reaches_one_process_is_a_warning_of_deploy(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://"}
    (warning,) = checks.check_reach()
    assert "reaches this process only" in warning.msg
    settings.TELLTALE = {"BROKER": "local://"}
    assert checks.check_reach() == []
