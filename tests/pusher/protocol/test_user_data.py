"""What a site signs about its users: which members and users are accepted, and what is kept of them."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.pusher.protocol.user_data import InvalidUserData, Member, member_of, read_member, read_user
from telltale.pusher.pusher_apps import AppLimits

LIMITS = AppLimits()


@pytest.mark.parametrize(("user_id", "text"), [("ada", "ada"), (10, "10"), (0, "0"), (-1, "-1"), (10**30, f"{10**30}")])
def test_a_members_id_is_text(user_id: Any, text: str) -> None:
    """P26, P27."""
    assert read_member(json.dumps({"user_id": user_id}), LIMITS) == Member(text, None)


def test_a_members_info_is_any_json() -> None:
    """P26."""
    info = {"name": "Ada", "tags": [1, None, {"a": 1.5}]}
    assert read_member(json.dumps({"user_id": "1", "user_info": info}), LIMITS).user_info == info


@pytest.mark.parametrize("user_id", ["", None, True, 1.5, [], {}])
def test_another_id_of_a_member_is_refused(user_id: Any) -> None:
    with pytest.raises(InvalidUserData, match="user_id"):
        read_member(json.dumps({"user_id": user_id}), LIMITS)


def test_the_limits_of_a_member_are_in_characters_and_bytes() -> None:
    """P29."""
    fits = json.dumps({"user_id": "é" * 128, "user_info": "é" * 511})
    assert read_member(fits, LIMITS).user_id == "é" * 128
    for user_id, info, named in (("x" * 129, None, "128 characters"), ("x", "é" * 512, "1,024 are allowed")):
        with pytest.raises(InvalidUserData, match=named):
            read_member(json.dumps({"user_id": user_id, "user_info": info}), LIMITS)


def test_a_user_has_an_id_and_perhaps_info_and_a_watchlist() -> None:
    """P43, P49."""
    data = json.dumps({"id": "7", "user_info": {"name": "Ada"}, "watchlist": ["8", "9", "8"], "more": 1})
    user = read_user(data, LIMITS)
    assert (user.id, user.info, user.watchlist, user.data) == ("7", {"name": "Ada"}, ("8", "9"), data)
    assert not user.is_watchlist_cut
    assert member_of(user, LIMITS) == Member("7", {"name": "Ada"})


def test_a_signed_in_users_info_has_the_limit_of_members_on_presence_channels() -> None:
    user = read_user(json.dumps({"id": "7", "user_info": "x" * 2_000}), LIMITS)
    with pytest.raises(InvalidUserData, match="1,024"):
        member_of(user, LIMITS)


def test_a_long_watchlist_is_cut() -> None:
    """P49."""
    user = read_user(json.dumps({"id": "7", "watchlist": [str(k) for k in range(101)]}), LIMITS)
    assert user.is_watchlist_cut
    assert user.watchlist == tuple(str(k) for k in range(100))


@pytest.mark.parametrize("data", ["", "x", "[]", "7", "null", '"id"', "{}", '{"id":7}', '{"id":"7","watchlist":{}}'])
def test_another_form_of_a_user_is_refused(data: str) -> None:
    with pytest.raises(InvalidUserData):
        read_user(data, LIMITS)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[" * 100_000, "{", "", "1 2"])
def test_what_javascript_could_not_parse_is_refused(text: str) -> None:
    """P12: it would be sent on to others."""
    with pytest.raises(InvalidUserData, match="not valid JSON"):
        read_member(f'{{"user_id":"1","user_info":{text}}}', LIMITS)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_member, read_user):
        with suppress(InvalidUserData):
            read(text, LIMITS)
