"""Bundles as text, the buffer that fills them, the group's names, and the numbers that show gaps."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.brokers.base import Message
from telltale.brokers.delivery import LossCounter
from telltale.channels.broker.bundles import (
    BUNDLE_BYTES,
    MISSED_TOPICS,
    Bundle,
    InvalidBundle,
    SendBuffer,
    pack,
    unpack,
)
from telltale.channels.broker.group import MAX_SENDERS, SLOT_S, Gap, GroupSlots, SenderNumbers

topics = st.from_regex(r"[a-z]{1,8}:[A-Za-z0-9_.@+-]{1,20}", fullmatch=True)
messages = st.builds(Message, st.lists(topics, min_size=1, max_size=3).map(tuple), st.binary(max_size=200))


@given(st.lists(messages, max_size=8), st.frozensets(topics), st.integers(0), st.booleans())
def test_a_bundle_is_read_as_it_was_written(
    messages: Sequence[Message], missed: frozenset[str], number: int, missed_any: bool
) -> None:
    bundle = Bundle(
        sender="a",
        number=number,
        messages=messages,
        missed_topics=frozenset() if missed_any else missed,
        missed_any=missed_any,
    )
    read = unpack(pack(bundle))
    assert (read.sender, read.number, list(read.messages)) == ("a", number, list(messages))
    assert (frozenset(read.missed_topics), read.missed_any) == (frozenset(bundle.missed_topics), missed_any)


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"bytes",
        "",
        "no JSON\n",
        "7\n",
        '{"version":2}\n',
        '{"version":1}\n',
        '{"version":1,"sender":"a","number":1,"missed":[],"messages":[[["a:b"],3]]}\nxx',
        '{"version":1,"sender":"a","number":1,"missed":[],"messages":[]}\nxx',
        '{"version":1,"sender":"a","number":1,"missed":[],"messages":[[["a:b"],1]]}\n☃',
    ],
)
def test_another_text_is_no_bundle(text: object) -> None:
    with pytest.raises(InvalidBundle, match="no bundle of version 1"):
        unpack(text)


def test_only_bodies_of_followed_topics_are_taken() -> None:
    sent = [Message(("a:1", "a:2"), b"both"), Message(("a:3",), b"other")]
    bundle = Bundle(sender="a", number=1, messages=sent)
    assert bundle.bodies({"a:2", "a:9"}) == [b"both"]
    assert bundle.bodies(set()) == []


def test_a_full_buffer_keeps_the_newest_messages_and_the_topics_of_the_others() -> None:
    buffer = SendBuffer()
    dropped = [buffer.add(Message((f"a:{n}",), b"%d" % n + b"x" * 16_000)) for n in range(20)]
    bundle = buffer.take(sender="a", number=1)
    kept = len(bundle.messages)
    assert len(bundle.messages) == BUNDLE_BYTES // 16_040 == 20 - sum(dropped)
    assert [message.topics for message in bundle.messages] == [(f"a:{n}",) for n in range(20 - kept, 20)]
    assert set(bundle.missed_topics) == {f"a:{n}" for n in range(20 - kept)}
    assert not bundle.missed_any
    assert not buffer


def test_too_many_dropped_topics_are_reported_as_any_topic() -> None:
    buffer = SendBuffer()
    for n in range(MISSED_TOPICS + 20):
        buffer.add(Message((f"a:{n}",), b"x" * 16_000))
    bundle = buffer.take(sender="a", number=1)
    assert bundle.missed_any
    assert not bundle.missed_topics


def test_a_discarded_buffer_says_that_messages_may_be_lost() -> None:
    buffer = SendBuffer()
    buffer.add(Message(("a:1",), b"x"))
    buffer.discard()
    assert buffer
    bundle = buffer.take(sender="a", number=1)
    assert (bundle.messages, bundle.missed_any) == ((), True)


def test_listeners_are_in_the_group_of_every_sender_whose_clock_differs_by_less_than_a_slot() -> None:
    slots = GroupSlots("site", None)
    assert slots.slot_s == SLOT_S
    for now in (0.0, 599.9, 600.0, 123_456.7):
        for difference in (-SLOT_S, -1.0, 0.0, 1.0, SLOT_S):
            assert slots.to_send_to(now + difference) in slots.to_join(now)
        assert slots.to_join(now + slots.next_change_s(now) + 0.001) != slots.to_join(now)


def test_a_membership_ends_before_a_short_group_expiry() -> None:
    slots = GroupSlots("site", 8)
    [joined] = slots.to_join(2.0) - slots.to_join(1.9)
    used_until = max(now / 10 for now in range(200) if joined in slots.to_join(now / 10))
    assert used_until - 2.0 < 8


def test_missing_numbers_are_counted_for_a_known_sender() -> None:
    numbers = SenderNumbers()
    assert numbers.add("a", 1, is_beacon=False) == Gap(False, 0)
    assert numbers.add("a", 1, is_beacon=True) == Gap(False, 0)
    assert numbers.add("a", 2, is_beacon=False) == Gap(False, 0)
    assert numbers.add("a", 5, is_beacon=False) == Gap(True, 2)
    assert numbers.add("a", 4, is_beacon=False) == Gap(False, 0)
    assert numbers.add("a", 7, is_beacon=True) == Gap(True, 2)


def test_earlier_bundles_of_an_unknown_sender_may_be_missing_but_are_not_counted() -> None:
    numbers = SenderNumbers()
    assert numbers.add("a", 3, is_beacon=False) == Gap(True, 0)
    assert numbers.add("b", 1, is_beacon=True) == Gap(True, 0)
    assert numbers.add("c", 0, is_beacon=True) == Gap(False, 0)


def test_the_senders_heard_longest_ago_are_forgotten() -> None:
    numbers = SenderNumbers()
    for n in range(MAX_SENDERS + 1):
        numbers.add(f"{n}", 1, is_beacon=False)
    assert numbers.add("1", 3, is_beacon=False) == Gap(True, 1)
    assert numbers.add("0", 3, is_beacon=False) == Gap(True, 0)


def test_losses_are_logged_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    counter = LossCounter("%d bundles were lost.")
    for now in (0.0, 1.0, 59.0, 60.0, 61.0):
        counter.add(2, now=now)
    counter.add(0, now=200.0)
    assert [record.message for record in caplog.records] == [
        "2 bundles were lost.",
        "6 bundles were lost.",
        "2 bundles were lost.",
    ]
    assert counter.total == 10
