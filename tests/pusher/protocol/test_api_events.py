"""The bodies of requests that publish are read as a whole, and one wrong event refuses all."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.pusher.protocol.api_events import ApiEvent, Publication, max_body_bytes, read_batch, read_events
from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.pusher.pusher_apps import AppLimits

LIMITS = AppLimits()
EVENT = {"name": "e", "channel": "news", "data": "x"}


def events_of(*, limits: AppLimits = LIMITS, **fields: Any) -> Publication:
    return read_events(json.dumps(fields).encode(), limits)


def batch_of(*events: Any, limits: AppLimits = LIMITS) -> Publication:
    return read_batch(json.dumps({"batch": events}).encode(), limits)


def refused(status: int, read: Any, *arguments: Any, **fields: Any) -> str:
    with pytest.raises(ApiRefusal) as caught:
        read(*arguments, **fields)
    assert caught.value.status == status
    return caught.value.text


def test_an_event_goes_to_one_channel_or_to_several() -> None:
    """P54: to each once, in their order."""
    assert events_of(**EVENT).events == (ApiEvent(name="e", channel="news", data="x"),)
    several = events_of(name="e", data="x", channels=["b", "a", "b"])
    assert [event.channel for event in several.events] == ["b", "a"]


def test_a_null_counts_as_missing() -> None:
    """P54: some clients send all fields."""
    event = events_of(name="e", data="x", channel=None, channels=["a"], socket_id=None, info=None)
    assert event == Publication(events=(ApiEvent(name="e", channel="a", data="x"),), info=((),))


def test_channel_and_channels_together_are_ambiguous() -> None:
    """P58."""
    assert 'both "channel" and "channels"' in refused(400, events_of, **EVENT, channels=["a"])


def test_a_hundred_channels_are_the_most() -> None:
    """P56: the limit is the app's own."""
    names = [f"c{number}" for number in range(101)]
    assert len(events_of(name="e", data="x", channels=names[:100]).events) == 100
    assert "101 channels: at most 100" in refused(400, events_of, name="e", data="x", channels=names)
    small = AppLimits(channels_per_event=2)
    assert "at most 2" in refused(400, events_of, name="e", data="x", channels=names[:3], limits=small)


@given(st.text(max_size=300))
def test_data_is_not_changed(data: str) -> None:
    """P16, P54."""
    assert events_of(**{**EVENT, "data": data}).events[0].data == data
    assert batch_of({**EVENT, "data": data}).events[0].data == data


@pytest.mark.parametrize("data", ["x" * 10_240, "é" * 5_120, "😀" * 2_560, "\ud800" * 3_413, ""])
def test_the_largest_data_is_accepted(data: str) -> None:
    """P57: bytes of UTF-8 count."""
    assert events_of(**{**EVENT, "data": data})


@pytest.mark.parametrize("data", ["x" * 10_241, "é" * 5_121, "😀" * 2_561])
def test_larger_data_is_refused_with_its_size_and_the_limit(data: str) -> None:
    """P57: 413; a batch is refused as a whole."""
    text = refused(413, events_of, **{**EVENT, "data": data})
    assert "10,240" in text
    assert "EVENT_BYTES" in text
    assert refused(413, batch_of, EVENT, {**EVENT, "data": data}).startswith("Event 1 of the batch: ")


def test_the_limit_of_data_is_the_apps_own() -> None:
    """P57."""
    assert events_of(**{**EVENT, "data": "x" * 20_000}, limits=AppLimits(event_bytes=20_000))
    refused(413, events_of, **{**EVENT, "data": "x" * 11}, limits=AppLimits(event_bytes=10))


@pytest.mark.parametrize("data", ["x" * 10_240, "\x01" * 10_240, '"' * 10_240, "é" * 5_120])
def test_every_valid_request_fits_the_largest_body(data: str) -> None:
    """P57: whatever its client escapes."""
    event = {"name": "\x01" * 200, "data": data, "socket_id": "1.1", "info": "user_count,subscription_count"}
    events = json.dumps({**event, "channels": [f"{number:-<200}" for number in range(100)]}).encode()
    batch = json.dumps({"batch": [{**event, "channel": "x" * 200}] * 10}).encode()
    assert read_events(events, LIMITS)
    assert read_batch(batch, LIMITS)
    assert max(len(events), len(batch)) <= max_body_bytes(LIMITS)


@pytest.mark.parametrize("missing", ["name", "data", "channel"])
def test_name_data_and_channel_are_needed(missing: str) -> None:
    """P58."""
    event = {name: value for name, value in EVENT.items() if name != missing}
    assert missing in refused(400, events_of, **event)
    assert missing in refused(400, batch_of, event)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("name", value) for value in ("", 7, [], "x" * 201, "pusher:ping", "pusher_internal:member_added")],
        *[("data", value) for value in (7, None, {"an": "object"}, ["a"], True)],
        *[("channel", value) for value in ("", "a b", "a/b", "é", "x" * 201, "a\n", 7, ["a"], {"a": 1}, "#news")],
        *[("channel", value) for value in ("#server-to-user-", "#server-to-user-" + "x" * 129)],
        *[("socket_id", value) for value in ("", "1", "1.", "a.b", "1.1\n", "١.١", 1.1, ["1.1"])],
        *[("info", value) for value in (7, ["user_count"], "users", "user_count;x")],
    ],
)
def test_each_wrong_field_is_refused(field: str, value: Any) -> None:
    """P58: in single requests and in batches, where the event is named by its number."""
    text = refused(400, events_of, **{**EVENT, field: value})
    assert refused(400, batch_of, EVENT, {**EVENT, field: value}) == f"Event 1 of the batch: {text}"


def test_long_values_are_shortened_in_texts() -> None:
    """P58."""
    assert len(refused(400, events_of, **{**EVENT, "channel": "x" * 5_000})) < 400


@pytest.mark.parametrize("name", ["x" * 200, "é", "client-x", "App\\Events\\X", " ", "a\ud800"])
def test_other_names_of_events_are_allowed(name: str) -> None:
    """P58."""
    assert events_of(**{**EVENT, "name": name}).events[0].name == name


@pytest.mark.parametrize("channel", ["x" * 200, "private-a_b=c@d,e.f;g-1", "presence-x", "#server-to-user-7", "-"])
def test_channels_of_all_kinds_are_allowed(channel: str) -> None:
    """P17, P46."""
    assert events_of(**{**EVENT, "channel": channel}).events[0].channel == channel


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"[" * 100_000, b"1" * 5_000, b"[]", b"null", b'"x"', b"NaN"],
)
@pytest.mark.parametrize("read", [read_events, read_batch])
def test_a_body_that_is_no_json_object_is_refused(read: Any, body: bytes) -> None:
    """P58."""
    refused(400, read, body, LIMITS)


def test_a_batch_keeps_its_order_and_the_info_of_each_event() -> None:
    """P60."""
    batch = batch_of(EVENT, {**EVENT, "channel": "presence-a", "info": "user_count", "socket_id": "1.2"})
    assert [event.channel for event in batch.events] == ["news", "presence-a"]
    assert batch.events[1].socket_id == "1.2"
    assert batch.info == ((), ("user_count",))


def test_ten_events_are_the_most_in_a_batch() -> None:
    """P60: the limit is the app's own."""
    assert len(batch_of(*[EVENT] * 10).events) == 10
    assert "11 events: send at most 10" in refused(400, batch_of, *[EVENT] * 11)
    assert "at most 2" in refused(400, batch_of, *[EVENT] * 3, limits=AppLimits(events_per_batch=2))


def test_an_empty_batch_publishes_nothing() -> None:
    """P60."""
    assert batch_of() == Publication(events=(), info=())


@pytest.mark.parametrize("batch", [None, {}, "x", 7])
def test_a_batch_is_a_list(batch: Any) -> None:
    """P60."""
    assert '"batch" is' in refused(400, read_batch, json.dumps({"batch": batch}).encode(), LIMITS)


@pytest.mark.parametrize("event", [None, 7, "x", []])
def test_an_event_of_a_batch_is_an_object(event: Any) -> None:
    """P60."""
    assert "Event 0 of the batch" in refused(400, batch_of, event)


def test_info_is_a_list_with_commas() -> None:
    """P59: each attribute once."""
    info = events_of(**EVENT, info="user_count, subscription_count,user_count,").info
    assert info == (("user_count", "subscription_count"),)
    assert "the attributes here are user_count, subscription_count" in refused(400, events_of, **EVENT, info="cache")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from([*EVENT, "batch"]), values),
    max_leaves=8,
)


@given(JSON)
def test_no_body_raises_anything_but_a_refusal(value: Any) -> None:
    """P58."""
    for read in (read_events, read_batch):
        for body in (value, {"batch": [value]}, {**EVENT, "channels": value}, {**EVENT, "info": value}):
            with suppress(ApiRefusal):
                assert isinstance(read(json.dumps(body).encode(), LIMITS), Publication)
