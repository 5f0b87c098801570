"""Topics: what a topic is, and the escape that makes a topic of any primary key."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.channels.groups import group_of, topic_of
from telltale.core.topics import MAX_LENGTH, InvalidTopic, escape, is_topic, parse, unescape, user_topic

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
PLAIN = st.text("abcXYZ0129_.@+-", min_size=1)


@pytest.mark.parametrize(
    ("key", "topic"),
    [
        (7, "user:7"),
        (2**62, f"user:{2**62}"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "user:0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("ada.lovelace+imports@example.org", "user:ada.lovelace+imports@example.org"),
        ("Ærø 7/a", "user:%C3%86r%C3%B8%207%2Fa"),
        ("100%", "user:100%25"),
        ("%C3%86", "user:%25C3%2586"),
    ],
)
def test_the_topic_of_a_user_with_any_primary_key(key: object, topic: str) -> None:
    assert user_topic(key) == topic
    assert parse(topic) == ("user", topic.removeprefix("user:"))
    assert unescape(topic.removeprefix("user:")) == str(key)


@given(PLAIN)
def test_a_plain_key_stays_as_it_is(key: str) -> None:
    assert escape(key) == key


@given(KEYS)
def test_a_topic_gives_its_key_back_so_two_keys_never_share_one(key: str) -> None:
    topic = user_topic(key)
    assert is_topic(topic)
    assert unescape(topic.removeprefix("user:")) == key


@given(KEYS)
def test_the_escape_is_that_of_urls(key: str) -> None:
    assert escape(key) == quote(key, safe="@+").replace("~", "%7E")
    assert unquote(escape(key)) == key


@given(KEYS)
def test_s18_a_channels_group_gives_the_topic_back_or_is_a_digest(key: str) -> None:
    group = group_of(user_topic(key))
    assert group.startswith("telltale..") or topic_of(group) == user_topic(key)


@pytest.mark.parametrize("topic", ["user:%", "user:%c3", "user:%C", "user:100%", "user:Ærø", "user:7/a", "us%20er:7"])
def test_s18_a_name_has_one_spelling(topic: str) -> None:
    assert not is_topic(topic)


@pytest.mark.parametrize("key", ["", "ø" * 100, "a" * MAX_LENGTH])
def test_a_key_that_no_topic_carries_is_an_error_that_names_the_mend(key: str) -> None:
    with pytest.raises(InvalidTopic, match="Give the user model another key"):
        user_topic(key)
