"""Messages to people and topics: sent from anywhere, without a request, and only after the commit."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

import telltale
from telltale import brokers
from telltale.core.wire import Envelope
from telltale.models import StoredNotice
from telltale.testing.brokers import assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)


class BrokenBroker:
    """A broker that always fails."""

    def publish(self, messages: Any) -> None:
        raise ConnectionError("refused")

    def close(self) -> None:
        pass


@pytest.fixture
def ada() -> User:
    return User.objects.create(username="ada")


@pytest.fixture
def received() -> Iterator[list[Envelope]]:
    envelopes: list[Envelope] = []
    listener = brokers.broker().listen(lambda raw: envelopes.extend(map(Envelope.from_bytes, raw)), lambda: None)
    yield envelopes
    listener.close()


def test_a_message_to_a_person_is_stored_and_sent(ada: User, received: list[Envelope]) -> None:
    notice = telltale.notify(ada, "Your export is ready", level="success", url="/exports/3/")
    assert_eventually(lambda: [e.notice for e in received] == [notice], "the notice was sent")
    assert StoredNotice.objects.get().notice == notice


def test_a_message_in_a_transaction_is_sent_after_the_commit(ada: User, received: list[Envelope]) -> None:
    with transaction.atomic():
        telltale.notify(ada, "Hello")
        telltale.publish("project:7", "begun")
        assert received == []
    assert_eventually(lambda: len(received) == 2, "both messages were sent")


def test_f29_a_message_that_is_rolled_back_is_never_sent(ada: User, received: list[Envelope]) -> None:
    with transaction.atomic():
        telltale.notify(ada, "Rolled back")
        transaction.set_rollback(True)
    telltale.publish("project:7", "afterwards")
    assert_eventually(lambda: len(received) > 0, "the later message was sent")
    assert [e.event.name for e in received if e.event] == ["afterwards"]
    assert not StoredNotice.objects.exists()


def test_a_broker_that_is_down_raises_nothing_in_the_caller(ada: User, settings: Any, caplog: Any) -> None:
    settings.TELLTALE = {"BROKER": f"{__name__}.BrokenBroker"}
    for _ in range(3):
        telltale.notify(ada, "Hello")
    assert StoredNotice.objects.count() == 3
    assert len([r for r in caplog.records if "Publishing to the broker failed" in r.message]) == 1
    settings.TELLTALE = {"BROKER": "memory://"}
    telltale.publish("project:7", "works again")
    assert "works again, after" in caplog.text


@pytest.mark.parametrize(
    ("topic", "name", "data", "message"),
    [
        ("nonsense", "x", None, "nonsense"),
        ("telltale:cancellations", "x", None, "is reserved: .* Use a topic of another kind, such as 'project:7'"),
        ("project:7", "", None, "use 1 to 255 bytes"),
        ("project:7", "x" * 300, None, "use 1 to 255 bytes"),
        ("project:7", "x", object(), "not plain JSON"),
        ("project:7", "x", "y" * 9_000, "send a link or an id instead"),
    ],
)
def test_an_event_that_cant_be_published_is_refused_with_the_fix(
    topic: str, name: str, data: Any, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        telltale.publish(topic, name, data)


@pytest.mark.parametrize("url", ["/" + "x" * 2_048, "/a\0b", "/a\r\nb"])
def test_a_link_that_can_not_be_stored_is_refused_with_the_rule(ada: User, url: str) -> None:
    with pytest.raises(ValueError, match="at most 2,048 bytes and no control characters"):
        telltale.notify(ada, "Hello", url=url)
    assert not StoredNotice.objects.exists()


def test_a_message_without_level_or_recipient_is_refused_with_the_fix(ada: User) -> None:
    with pytest.raises(ValueError, match="info, success, warning, error"):
        telltale.notify(ada, "Hello", level="loud")
    with pytest.raises(ValueError, match="has no recipient"):
        telltale.notify(None, "Hello")
    with pytest.raises(TypeError, match="saved user"):
        telltale.notify(User(username="new"), "Hello")
