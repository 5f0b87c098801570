"""Attributes of channels: which there are, and which kinds of channels have them."""

import pytest

from telltale.pusher.protocol import api_attributes
from telltale.pusher.protocol.api_refusal import ApiRefusal


@pytest.mark.parametrize(
    ("channel", "attributes"),
    [
        ("news", {"subscription_count"}),
        ("private-a", {"subscription_count"}),
        ("presence-a", {"user_count"}),
        ("cache-a", {"subscription_count", "cache"}),
        ("private-cache-a", {"subscription_count", "cache"}),
        ("private-encrypted-cache-a", {"subscription_count", "cache"}),
        ("presence-cache-a", {"user_count", "cache"}),
        ("#server-to-user-7", set()),
    ],
)
def test_each_kind_of_channel_has_its_attributes(channel: str, attributes: set[str]) -> None:
    """P59, P62."""
    for attribute in api_attributes.OF_ONE_CHANNEL:
        assert api_attributes.applies(attribute, channel) == (attribute in attributes)
        if attribute in attributes:
            api_attributes.require([attribute], channel)
            continue
        with pytest.raises(ApiRefusal, match=f"info has {attribute}, which") as caught:
            api_attributes.require([attribute], channel)
        assert caught.value.status == 400


@pytest.mark.parametrize("prefix", ["", "news", "private-", "presence", "Presence-"])
def test_users_are_counted_only_where_all_channels_have_users(prefix: str) -> None:
    """P61."""
    with pytest.raises(ApiRefusal, match="add filter_by_prefix=presence-"):
        api_attributes.require_prefix(["user_count"], prefix)
    api_attributes.require_prefix(["subscription_count"], prefix)
    api_attributes.require_prefix(["user_count"], "presence-x")


@pytest.mark.parametrize("info", [None, "", ",", " , "])
def test_nothing_is_asked_for_by_an_empty_list(info: str | None) -> None:
    """P59."""
    assert api_attributes.read(info, api_attributes.OF_EVENTS) == ()
