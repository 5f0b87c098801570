"""Signed messages: what another program publishes on the site's channels reaches no page and no worker."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from hypothesis import given
from hypothesis import strategies as st

from telltale import brokers
from telltale.brokers import signing
from telltale.brokers.base import Broker, EventLoopBroker, Message
from telltale.brokers.delivery import MESSAGE_BYTES
from telltale.brokers.memory import MemoryBroker
from telltale.brokers.signing import SignedBroker, Signer, Verified, signed, site_signer
from telltale.core.wire import Envelope, Event
from telltale.testing.brokers import collect, make_messages
from tests.servers import Redis, running

OURS, THEIRS = Signer([b"ours"]), Signer([b"theirs"])
BODY = Envelope(topics=("project:7",), event=Event(topic="project:7", name="x", data="Zürich\n")).to_bytes()


@pytest.fixture
def shared() -> Iterator[MemoryBroker]:
    """What several sites share."""
    broker = MemoryBroker()
    yield broker
    broker.close()


@given(st.binary(max_size=300))
def test_a_signed_body_is_read_back_as_it_was_and_is_known_to_be_verified(body: bytes) -> None:
    verified = OURS.verify(OURS.sign(body))
    assert verified == body
    assert isinstance(verified, Verified)


@given(body=st.binary(max_size=300), change=st.integers(0, 255), place=st.integers(0))
def test_a_changed_message_is_not_believed(body: bytes, change: int, place: int) -> None:
    message = OURS.sign(body)
    place %= len(message)
    changed = message[:place] + bytes([change]) + message[place + 1 :]
    assert (OURS.verify(changed) is None) is (changed != message)


@pytest.mark.parametrize("accept_unsigned", [False, True])
def test_s47_a_message_with_a_wrong_signature_is_never_accepted(accept_unsigned: bool) -> None:
    for message in (THEIRS.sign(BODY), BODY.replace(b"\n", b" ~\n", 1), OURS.sign(BODY).replace(b" ~", b" ~~", 1)):
        assert OURS.verify(message, accept_unsigned=accept_unsigned) is None


def test_an_unsigned_message_is_accepted_for_a_time_and_is_not_verified() -> None:
    assert OURS.verify(BODY) is None
    assert OURS.verify(BODY, accept_unsigned=True) == BODY
    assert not isinstance(OURS.verify(BODY, accept_unsigned=True), Verified)


def test_a_version_that_knows_no_signatures_reads_a_signed_envelope() -> None:
    read = Envelope.from_bytes(OURS.sign(BODY))
    assert (read.event, read.topics[:-1]) == (Envelope.from_bytes(BODY).event, ("project:7",))


def test_after_a_new_secret_key_messages_by_the_old_one_are_accepted_while_it_is_a_fallback(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old", []
    old = site_signer()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    new = site_signer()
    settings.SECRET_KEY_FALLBACKS = []
    later = site_signer()
    assert new.verify(old.sign(BODY)) == later.verify(new.sign(BODY)) == BODY
    assert later.verify(old.sign(BODY)) is old.verify(new.sign(BODY)) is None


def test_s47_sites_that_share_a_broker_hear_only_themselves_and_the_rest_is_counted(shared: MemoryBroker) -> None:
    before = signing.rejected.total
    ours, theirs = SignedBroker(shared, OURS), SignedBroker(shared, THEIRS)
    our_messages, their_messages = collect(ours), collect(theirs)
    theirs.publish(make_messages(b"theirs"))
    shared.publish(make_messages(b"unsigned"))
    ours.publish(make_messages(b"ours"))
    our_messages.assert_received(b"ours")
    their_messages.assert_received(b"theirs")
    our_messages.assert_received(b"ours")
    assert (our_messages, their_messages) == ([b"ours"], [b"theirs"])
    assert signing.rejected.total - before >= 3


def test_the_largest_message_that_may_be_published_may_also_be_signed(shared: MemoryBroker) -> None:
    received, body = collect(signed(shared)), b"x" * MESSAGE_BYTES
    signed(shared).publish([Message(("project:7",), body)])
    received.assert_received(body)


URLS = {
    "local://": False,
    "memory://": False,
    "none://": False,
    "redis://127.0.0.1": True,
    "rediss://127.0.0.1": True,
    "unix:///run/redis.sock": True,
    "redis+sentinel://127.0.0.1/mymaster": True,
    "redis+cluster://127.0.0.1": True,
    "postgres://user@127.0.0.1/name": True,
    "channels://default": True,
    "telltale.brokers.memory.MemoryBroker": False,
}


@pytest.mark.parametrize("url", URLS)
def test_messages_are_signed_where_a_service_may_be_shared_unless_the_setting_says_otherwise(
    settings: Any, url: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    expected: list[tuple[object, bool]] = [(None, URLS[url]), (True, True), ("accept", True), (False, False)]
    for value, is_signed in expected:
        settings.TELLTALE = {"BROKER": url} | ({} if value is None else {"SIGN_MESSAGES": value})
        broker: Broker = brokers.broker()
        inner = broker.broker if isinstance(broker, SignedBroker) else broker
        assert isinstance(broker, SignedBroker) is is_signed
        assert isinstance(broker, EventLoopBroker) is isinstance(inner, EventLoopBroker)
        assert broker.reach is inner.reach


def test_check_names_an_unknown_value(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "SIGN_MESSAGES": "maybe"}
    [error] = [found for found in run_checks(tags=["telltale"]) if "SIGN_MESSAGES" in found.msg]
    assert "accept" in str(error.hint)
    for value in (True, False, "accept"):
        settings.TELLTALE = {**settings.TELLTALE, "SIGN_MESSAGES": value}
        assert not [found for found in run_checks(tags=["telltale"]) if "SIGN_MESSAGES" in found.msg]


@pytest.mark.service
def test_s47_sites_with_one_prefix_on_one_redis_hear_only_themselves(settings: Any) -> None:
    with running(Redis) as redis:
        settings.TELLTALE = {**settings.TELLTALE, "BROKER": f"{redis.url}?prefix=shared:"}
        ours = brokers.build_signed(settings.TELLTALE["BROKER"])
        settings.SECRET_KEY = "another site's"
        theirs, foreign = (
            brokers.build_signed(settings.TELLTALE["BROKER"]),
            brokers.build(settings.TELLTALE["BROKER"]),
        )
        try:
            received = collect(ours)
            theirs.publish(make_messages(b"theirs"))
            foreign.publish(make_messages(b"unsigned"))
            ours.publish(make_messages(b"ours"))
            received.assert_received(b"ours")
            assert received == [b"ours"]
        finally:
            for broker in (ours, theirs, foreign):
                broker.close()
