"""Apps as settings write them: every wrong value is named with its place, its rule and the fix, without secrets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.pusher.app_rules import LIMITS, RULES, WEBHOOK_RULES
from telltale.pusher.app_settings import read_app, read_apps
from telltale.pusher.pusher_apps import AppLimits, PusherApp, WebhookTarget

APP = {"ID": "1", "KEY": "app-key", "SECRET": "app-secret"}


def problems_of(**changes: Any) -> list[str]:
    app, problems = read_app({**APP, **changes}, "APPS[0]")
    assert (app is None) == bool(problems)
    return [problem.text for problem in problems]


def test_three_keys_are_enough() -> None:
    app, problems = read_app(APP, "APPS[0]")
    assert problems == []
    assert app == PusherApp(id="1", key="app-key", secret="app-secret")


def test_every_key_sets_its_field() -> None:
    app, problems = read_app(
        {
            **APP,
            "ID": 7,
            "IS_ENABLED": False,
            "TLS_ONLY": True,
            "CLIENT_EVENTS": False,
            "SUBSCRIPTION_COUNTS": True,
            "WATCHLISTS": False,
            "ACTIVITY_TIMEOUT_S": 30,
            "CACHE_S": 60,
            "WEBHOOK_SETTLE_S": 0,
            "LIMITS": {"EVENT_BYTES": 20_000, "CONNECTIONS": None},
            "WEBHOOKS": [
                "https://example.com/hook",
                {"URL": "http://localhost:8000/", "EVENTS": ["channel_occupied"], "HEADERS": {"X-Token": "t"}},
            ],
        },
        "APPS[0]",
    )
    assert problems == []
    assert app == PusherApp(
        id="7",
        key="app-key",
        secret="app-secret",
        is_enabled=False,
        is_tls_only=True,
        has_client_events=False,
        has_subscription_counts=True,
        has_watchlists=False,
        activity_timeout_s=30,
        cache_s=60.0,
        webhook_settle_s=0.0,
        limits=AppLimits(event_bytes=20_000),
        webhooks=(
            WebhookTarget(url="https://example.com/hook"),
            WebhookTarget(
                url="http://localhost:8000/",
                events=frozenset({"channel_occupied"}),
                headers=(("X-Token", "t"),),
            ),
        ),
    )


def test_every_field_of_an_app_can_be_set() -> None:
    assert {rule.field for rule in RULES.values()} == set(PusherApp.__dataclass_fields__)
    assert {rule.field for rule in LIMITS.values()} == set(AppLimits.__dataclass_fields__)
    assert {rule.field for rule in WEBHOOK_RULES.values()} == set(WebhookTarget.__dataclass_fields__)


@pytest.mark.parametrize("missing", APP)
def test_each_missing_key_is_named(missing: str) -> None:
    app, problems = read_app({key: value for key, value in APP.items() if key != missing}, "APPS[0]")
    assert app is None
    assert [problem.text for problem in problems] == [f"APPS[0] has no {missing!r}."]
    assert problems[0].hint.startswith(f"Add {missing!r}: ")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        *[("ID", value, "a string of digits") for value in ("", "a", "1a", "-1", "١", 1.5, True, None, "1" * 33)],
        *[("KEY", value, "without : / @ ? # % &") for value in ("", "a:b", "a/b", "a@b", "a?b", "a#b", "é", "a b", 7)],
        *[(key, value, "True or False") for key in ("IS_ENABLED", "CLIENT_EVENTS") for value in (1, "yes", None)],
        *[("ACTIVITY_TIMEOUT_S", value, "an integer above 0") for value in (0, -1, 1.5, "120", True, None)],
        *[("CACHE_S", value, "seconds, 0 or more") for value in (-1, float("inf"), float("nan"), "1", None, True)],
        ("LIMITS", [], "a dict such as"),
    ],
)
def test_each_wrong_value_is_named_with_its_rule(key: str, value: Any, text: str) -> None:
    (problem,) = problems_of(**{key: value})
    assert problem.startswith(f"APPS[0][{key!r}] is {value!r}; it must be ")
    assert text in problem


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"LIMITS": {"EVENT_BYTES": "x"}}, "APPS[0]['LIMITS']['EVENT_BYTES'] is 'x'; it must be an integer above 0."),
        (
            {"LIMITS": {"CONNECTIONS": 0}},
            "APPS[0]['LIMITS']['CONNECTIONS'] is 0; it must be an integer above 0, or None.",
        ),
        ({"LIMITS": {"EVENT_BYTE": 1}}, "APPS[0]['LIMITS'] has the unknown key 'EVENT_BYTE'."),
        ({"WEBHOOKS": [{"EVENTS": None}]}, "APPS[0]['WEBHOOKS'][0] has no 'URL'."),
        ({"WEBHOOKS": ["https://a", {"URL": "https://b", "EVENT": []}]}, "APPS[0]['WEBHOOKS'][1] has the unknown key"),
        (
            {"WEBHOOKS": [{"URL": "https://a", "EVENTS": ["x"]}]},
            "APPS[0]['WEBHOOKS'][0]['EVENTS'] is ['x']; it must be",
        ),
        ({"WEBHOOKS": [{"URL": "https://a", "EVENTS": [[]]}]}, "APPS[0]['WEBHOOKS'][0]['EVENTS'] is [[]]; it must be"),
        ({"CLIENT_EVENT": True}, "APPS[0] has the unknown key 'CLIENT_EVENT'."),
        ({7: True}, "APPS[0] has the unknown key 7."),
    ],
)
def test_problems_within_a_value_are_named_with_their_place(changes: Any, text: str) -> None:
    app, problems = read_app({**APP, **changes}, "APPS[0]")
    assert app is None
    assert [problem.text[: len(text)] for problem in problems] == [text]


def test_a_similar_key_is_suggested_and_otherwise_all_are_listed() -> None:
    assert read_app({**APP, "CLIENT_EVENT": True}, "A")[1][0].hint == "Did you mean 'CLIENT_EVENTS'?"
    assert "ID, KEY, SECRET, IS_ENABLED" in read_app({**APP, "XYZ": True}, "A")[1][0].hint


def test_the_default_is_told_where_there_is_one() -> None:
    assert read_app({**APP, "CACHE_S": -1}, "A")[1][0].hint == "Without this key, it is 1800.0."
    assert "wherever clients and servers are configured" in read_app({**APP, "KEY": ":"}, "A")[1][0].hint


@pytest.mark.parametrize(
    "changes",
    [
        {"SECRET": "hush hush"},
        {"SECRET": ["hush"]},
        {"WEBHOOKS": "https://user:hush@example.com"},
        {"WEBHOOKS": ["ftp://user:hush@example.com"]},
        {"WEBHOOKS": ["https://user:hush@[example.com"]},
        {"WEBHOOKS": ["https://user:hush@example.com:99999"]},
        {"WEBHOOKS": ["https://hu sh"]},
        {"WEBHOOKS": [{"URL": "https://example.com", "HEADERS": {"Authorization": "hush\n"}}]},
        {"WEBHOOKS": [{"URL": "https://example.com", "HEADERS": ["hush"]}]},
    ],
)
def test_no_text_shows_a_secret(changes: Any) -> None:
    (problem,) = read_app({**APP, **changes}, "APPS[0]")[1]
    assert "is wrong; it must be" in problem.text
    assert "hush" not in problem.text + problem.hint


@pytest.mark.parametrize("given", [None, "1", 7, [], ("ID", "1")])
def test_an_app_is_a_dict(given: Any) -> None:
    app, (problem,) = read_app(given, "APPS[0]")
    assert app is None
    assert problem.text.startswith("APPS[0] has the type")
    assert '"SECRET"' in problem.hint


def test_ids_and_keys_are_unique_and_the_first_app_stays() -> None:
    read = read_apps([APP, {**APP, "ID": "2"}, {**APP, "KEY": "k"}, {**APP, "ID": 2, "KEY": "k"}], "APPS")
    assert [app.id for app in read.apps] == ["1", "2"]
    assert [problem.text for problem in read.problems] == [
        "APPS[1]['KEY'] is 'app-key', as in APPS[0].",
        "APPS[2]['ID'] is '1', as in APPS[0].",
    ]


def test_a_wrong_app_does_not_take_others_with_it() -> None:
    read = read_apps([{**APP, "KEY": ":"}, APP], "APPS")
    assert [app.id for app in read.apps] == ["1"]
    assert len(read.problems) == 1


def test_values_are_read_by_the_same_rules() -> None:
    """A site's own function may return `PusherApp` values."""
    good = PusherApp(
        id="1",
        key="k",
        secret="s",
        limits=AppLimits(connections=5),
        webhooks=(WebhookTarget(url="https://a", events=frozenset({"cache_miss"}), headers=(("A", "b"),)),),
    )
    bad = PusherApp(id="x", key="a:b", secret="s", limits=AppLimits(event_bytes=0))
    read = read_apps([good, bad], "APPS")
    assert read.apps == [good]
    assert [problem.text.partition(" is ")[0] for problem in read.problems] == [
        "APPS[1]['ID']",
        "APPS[1]['KEY']",
        "APPS[1]['LIMITS']['EVENT_BYTES']",
    ]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.sampled_from([*RULES, *LIMITS, *WEBHOOK_RULES, "x"]), values, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(ANYTHING, max_size=3))
def test_nothing_that_is_given_raises(given: list[Any]) -> None:
    for entries in (given, [{**APP, "WEBHOOKS": given}], [{**APP, key: value} for key in RULES for value in given]):
        read = read_apps(entries, "APPS")
        assert len(read.apps) <= len(entries)
        assert len(read.apps) == len(entries) or read.problems
