"""Topics as names of channels: each topic has one channel, each such channel one topic, and every name is valid."""

from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from telltale.core.topics import InvalidTopic, is_topic, session_topic, task_topic, user_topic
from telltale.pusher.protocol.channel_names import is_cache, is_channel_name, is_encrypted, is_presence, is_private
from telltale.pusher.publisher.channels import MAX_LENGTH, PREFIXES, TELLTALES_KINDS, channel_of, topic_of

KINDS: Final = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True),
    st.sampled_from(["private", "presence", "cache", "encrypted", "private-cache", "task", "user", "session", "a-b"]),
).filter(lambda kind: kind != "telltale")
TOPICS: Final = st.builds(
    "{}:{}".format, KINDS, st.from_regex(r"([A-Za-z0-9_.@+-]|%[0-9A-F]{2}){1,36}", fullmatch=True)
).filter(is_topic)
TYPES: Final = st.dictionaries(KINDS, st.sampled_from(sorted(PREFIXES)), max_size=4)
CHANNELS: Final = st.from_regex(r"(private-|presence-|cache-|encrypted-){0,3}[A-Za-z0-9_=@,.;-]{1,12}", fullmatch=True)


@given(TOPICS, TYPES)
def test_the_channel_of_a_topic_leads_back_to_it(topic: str, types: dict[str, str]) -> None:
    assert topic_of(channel_of(topic, types), types) == topic


@given(TOPICS, TYPES)
def test_every_channel_has_a_valid_name_of_at_most_164_characters(topic: str, types: dict[str, str]) -> None:
    channel = channel_of(topic, types)
    assert is_channel_name(channel)
    assert len(channel) <= MAX_LENGTH


@given(TOPICS, TOPICS, TYPES)
def test_no_two_topics_share_a_channel(topic: str, other: str, types: dict[str, str]) -> None:
    assume(topic != other)
    assert channel_of(topic, types) != channel_of(other, types)


@given(CHANNELS, TYPES)
def test_a_channel_is_that_of_its_topic_or_of_none(channel: str, types: dict[str, str]) -> None:
    topic = topic_of(channel, types)
    assert topic is None or channel_of(topic, types) == channel


@given(st.text(max_size=40), TYPES)
def test_any_text_can_be_asked_for_its_topic(text: str, types: dict[str, str]) -> None:
    topic = topic_of(text, types)
    assert topic is None or channel_of(topic, types) == text


@given(TOPICS, TYPES)
def test_the_name_of_a_channel_is_that_of_its_type(topic: str, types: dict[str, str]) -> None:
    kind = topic.partition(":")[0]
    channel, type_ = channel_of(topic, types), types.get(kind, "private")
    if kind in TELLTALES_KINDS:
        type_ = "private"
    assert is_private(channel) is type_.startswith(("private", "presence"))
    assert is_presence(channel) is type_.startswith("presence")
    assert is_encrypted(channel) is ("encrypted" in type_)
    assert is_cache(channel) is ("cache" in type_)


@pytest.mark.parametrize(
    ("topic", "channel"),
    [
        (task_topic("4b8e6f1c-0000-4000-8000-000000000001"), "private-task-4b8e6f1c-0000-4000-8000-000000000001"),
        (user_topic(7), "private-user-7"),
        (session_topic("ab12"), "private-session-ab12"),
        ("project:7", "private-project-7"),
        ("news:today", "news-today"),
        ("room:a+b", "presence-room-a,b"),
        ("my-kind:x", "private-my;kind-x"),
        ("cache:user-7", "private-=63ache-user-7"),
        (user_topic("Ærø 7/a"), "private-user-=C3=86r=C3=B8=207=2Fa"),
        (user_topic("ada+news@example.org"), "private-user-ada,news@example.org"),
    ],
)
def test_names_are_as_documented(topic: str, channel: str) -> None:
    assert channel_of(topic, {"news": "public", "room": "presence"}) == channel


def test_topics_of_telltales_own_kinds_are_private_whatever_the_setting_says() -> None:
    assert channel_of("user:7", {"user": "public", "task": "presence"}) == "private-user-7"


@pytest.mark.parametrize("channel", ["presence-user-7", "user-7", "private-cache-user-7", "presence-project-7"])
def test_a_channel_of_another_type_than_its_topics_is_no_channel_of_a_topic(channel: str) -> None:
    assert topic_of(channel, {}) is None


def test_a_topic_that_is_too_long_for_a_channel_is_an_error_with_the_mend() -> None:
    channel_of(f"project:{'x' * 148}", {})
    with pytest.raises(InvalidTopic, match="165 characters, and at most 164 are allowed: use a shorter topic"):
        channel_of(f"project:{'x' * 149}", {})


def test_topics_for_processes_have_no_channel() -> None:
    with pytest.raises(InvalidTopic, match="reserved"):
        channel_of("telltale:cancellations", {})
    assert topic_of("private-telltale-cancellations", {}) is None
