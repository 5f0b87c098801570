"""TaskText people and topics: from anywhere, with no request, never before it is true."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

import telltale
from telltale import brokers
from telltale.core.wire import Envelope
from telltale.models import StoredNotice
from telltale.testing.brokers import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Deaf:
    """A broker that is out of order."""

    def publish(self, messages: Any) -> None:
        raise ConnectionError("refused")

    def close(self) -> None:
        pass


@pytest.fixture
def ada() -> User:
    return User.objects.create(username="ada")


@pytest.fixture
def told() -> Iterator[list[Envelope]]:
    heard: list[Envelope] = []
    listener = brokers.broker().listen(lambda raw: heard.extend(map(Envelope.from_bytes, raw)), lambda: None)
    yield heard
    listener.close()


def test_a_message_to_a_person_is_kept_and_told(ada: User, told: list[Envelope]) -> None:
    notice = telltale.notify(ada, "Your export is ready", level="success", url="/exports/3/")
    eventually(lambda: [e.notice for e in told] == [notice], "it is told")
    assert StoredNotice.objects.get().notice == notice


def test_a_message_in_a_transaction_is_told_after_its_commit(ada: User, told: list[Envelope]) -> None:
    with transaction.atomic():
        telltale.notify(ada, "Hello")
        telltale.publish("project:7", "begun")
        assert told == []
    eventually(lambda: len(told) == 2, "both are told")


def test_what_is_rolled_back_is_told_to_nobody(ada: User, told: list[Envelope]) -> None:
    with transaction.atomic():
        telltale.notify(ada, "Never said")
        transaction.set_rollback(True)
    telltale.publish("project:7", "afterwards")
    eventually(lambda: len(told) > 0, "what came afterwards is told")
    assert [e.event.name for e in told if e.event] == ["afterwards"]
    assert not StoredNotice.objects.exists()


def test_a_broker_that_is_down_is_no_trouble_of_the_caller(ada: User, settings: Any, caplog: Any) -> None:
    settings.TELLTALE = {"BROKER": f"{__name__}.Deaf"}
    for _ in range(3):
        telltale.notify(ada, "Hello")
    assert StoredNotice.objects.count() == 3
    assert len([r for r in caplog.records if "Handing over to the broker failed" in r.message]) == 1
    settings.TELLTALE = {"BROKER": "memory://"}
    telltale.publish("project:7", "works again")
    assert "works again, after" in caplog.text


@pytest.mark.parametrize(
    ("topic", "name", "data", "mend"),
    [
        ("nonsense", "x", None, "nonsense"),
        ("project:7", "", None, "1 to 255 bytes"),
        ("project:7", "x" * 300, None, "1 to 255 bytes"),
        ("project:7", "x", object(), "JSON can't hold"),
        ("project:7", "x", "y" * 9_000, "send a link or an id instead"),
    ],
)
def test_what_cant_be_published_is_refused_with_the_mend(topic: str, name: str, data: Any, mend: str) -> None:
    with pytest.raises((ValueError, TypeError), match=mend):
        telltale.publish(topic, name, data)


def test_what_cant_be_said_to_anybody_is_refused_with_the_mend(ada: User) -> None:
    with pytest.raises(ValueError, match="info, success, warning, error"):
        telltale.notify(ada, "Hello", level="loud")
    with pytest.raises(ValueError, match="for nobody"):
        telltale.notify(None, "Hello")
    with pytest.raises(TypeError, match="saved user"):
        telltale.notify(User(username="new"), "Hello")
