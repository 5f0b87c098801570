"""Topics as names of Channels groups: legal, different for different topics, and reversible."""

import string

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from telltale.channels import group_of, topic_of
from telltale.channels.groups import UnknownGroup
from telltale.core.topics import CANCELLATIONS, MAX_LENGTH, InvalidTopic, is_topic, task_topic

KINDS = st.builds(
    "{}{}".format,
    st.sampled_from(string.ascii_lowercase),
    st.text(string.ascii_lowercase + string.digits + "_-", max_size=30),
)
NAMES = st.text(string.ascii_letters + string.digits + "_.@+-", min_size=1, max_size=MAX_LENGTH)
TOPICS = st.builds("{}:{}".format, KINDS, NAMES).map(lambda text: text[:MAX_LENGTH])

LONG = "project:" + "x" * 120


def is_digest(group: str) -> bool:
    return group.startswith("telltale..")


@given(topic=TOPICS)
def test_a_group_is_legal_for_channels(topic: str) -> None:
    assert is_topic(topic)
    assert BaseChannelLayer().require_valid_group_name(group_of(topic))


@given(topic=TOPICS)
def test_a_group_that_is_no_digest_gives_its_topic_back(topic: str) -> None:
    group = group_of(topic)
    if is_digest(group):
        with pytest.raises(UnknownGroup, match="too long"):
            topic_of(group)
    else:
        assert topic_of(group) == topic


@given(topics=st.sets(TOPICS, min_size=2, max_size=20))
def test_no_two_topics_share_a_group(topics: set[str]) -> None:
    assert len({group_of(topic) for topic in topics}) == len(topics)


@given(group=st.text(string.ascii_letters + string.digits + "_.-", max_size=99).map("telltale.{}".format))
def test_no_two_groups_have_the_same_topic(group: str) -> None:
    try:
        topic = topic_of(group)
    except UnknownGroup:
        return
    assert group_of(topic) == group


@pytest.mark.parametrize(
    ("topic", "group"),
    [
        ("user:7", "telltale.user.7"),
        ("mail:ada@example.org", "telltale.mail.ada_40example.org"),
        ("my_kind:a_b+c", "telltale.my_kind.a_5fb_2bc"),
        ("project:.7", "telltale.project..7"),
        (
            task_topic("0195bb0c-6d0e-7c8a-a1a8-6c5d3a6ae4a9"),
            "telltale.task.0195bb0c-6d0e-7c8a-a1a8-6c5d3a6ae4a9",
        ),
        (CANCELLATIONS, "telltale.telltale.cancellations"),
    ],
)
def test_the_usual_groups_are_short_and_readable(topic: str, group: str) -> None:
    assert group_of(topic) == group
    assert topic_of(group) == topic


def test_a_topic_that_is_too_long_becomes_a_digest_that_says_so() -> None:
    group = group_of(LONG)
    assert is_digest(group)
    assert group != group_of(LONG[:-1])
    with pytest.raises(UnknownGroup, match="use the topic in the message"):
        topic_of(group)


@pytest.mark.parametrize("topic", ["", "7", "user:", "user:7 8", "Project:7", "project:ü", "x:" + "y" * 600])
def test_an_invalid_topic_has_no_group(topic: str) -> None:
    with pytest.raises(InvalidTopic, match="write kind:name"):
        group_of(topic)


@pytest.mark.parametrize(
    "group", ["", "chat", "telltale.user", "telltale.user._41", "telltale.user._4g", "telltale.User.7", "user.7"]
)
def test_a_group_that_group_of_did_not_make_has_no_topic(group: str) -> None:
    with pytest.raises(UnknownGroup, match="group_of"):
        topic_of(group)
