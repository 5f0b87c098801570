"""Notices that no page has shown are handed over to mail or a hook: each by one process, and none is lost."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from django.core import mail as outbox
from django.core.management import CommandError, call_command

import telltale
from telltale import store, unseen
from telltale.core.wire import Notice
from telltale.models import StoredNotice
from telltale.owners import Owner
from telltale.store.notices import HANDING_OVER_S
from telltale.store.unseen import HANDED_OVER_TOGETHER, OVERDUE_S
from tests.factories import person
from tests.store.factories import run_at_once

pytestmark = pytest.mark.django_db

HOUR_S = 3_600.0


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.TELLTALE = {
        **settings.TELLTALE,
        "BROKER": "memory://",
        "UNSEEN": "telltale.unseen.mail",
        "UNSEEN_AFTER_S": HOUR_S,
        "UNSEEN_URL": "https://example.com/",
    }


@pytest.fixture
def ada() -> Any:
    return person("ada", email="ada@example.com")


def old_notice(user: Any, text: str, *, age_s: float = 2 * HOUR_S, **more: Any) -> Notice:
    notice = telltale.notify(user, text, **more)
    StoredNotice.objects.filter(pk=notice.id).update(created_at=store.now() - age_s)
    return notice


def waiting(user: Any) -> list[str]:
    return [row.text for row in store.read_waiting(Owner.of(user))]


class Hook:
    """A hook that notes what it gets."""

    def __init__(self, answer: bool | None = None, error: BaseException | None = None) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self._answer, self._error = answer, error

    def __call__(self, user: Any, notices: Sequence[Notice]) -> bool | None:
        self.calls.append((user.get_username(), [notice.text for notice in notices]))
        if self._error is not None:
            raise self._error
        return self._answer


def test_what_no_page_has_shown_is_sent_by_mail_once_with_its_link_and_is_not_shown_as_new_after_that(
    ada: Any,
) -> None:
    old_notice(ada, "Report:\nready", url="/reports/7/")
    for _ in range(2):
        unseen.hand_over()
    [sent] = outbox.outbox
    assert (sent.subject, sent.to) == ("Report: ready", ["ada@example.com"])
    assert "https://example.com/reports/7/" in sent.body
    assert "https://example.com/telltale/messages/" in sent.body
    assert waiting(ada) == []
    [listed] = store.list_messages(Owner.of(ada)).messages
    assert listed.shown_at is not None


def test_a_user_gets_one_mail_for_several_messages_oldest_first(ada: Any) -> None:
    for n in (3, 2, 1):
        old_notice(ada, f"Message {n}", age_s=n * 2 * HOUR_S)
    unseen.hand_over()
    [sent] = outbox.outbox
    assert sent.subject == "3 new messages"
    assert sent.body.index("Message 3") < sent.body.index("Message 2") < sent.body.index("Message 1")


def test_what_is_too_new_or_was_shown_or_is_held_by_a_page_or_is_long_overdue_is_left_alone(ada: Any) -> None:
    topic = f"user:{ada.pk}"
    telltale.notify(ada, "new")
    old_notice(ada, "long overdue", age_s=HOUR_S + OVERDUE_S + 60)
    store.take_notice(old_notice(ada, "shown").id, [topic])
    store.hold_notice(old_notice(ada, "held").id, [topic], "a page")
    hook = Hook()
    assert unseen.hand_over(hook).notices == 0
    assert hook.calls == []


@pytest.mark.django_db(transaction=True)
def test_f62_of_processes_that_hand_over_at_the_same_time_one_gets_each_notice(ada: Any) -> None:
    texts = [f"{n}" for n in range(5)]
    for text in texts:
        old_notice(ada, text)
    hook = Hook()
    run_at_once(*[lambda: unseen.hand_over(hook)] * 4)
    assert sorted(text for _user, found in hook.calls for text in found) == texts


def test_while_a_notice_is_handed_over_no_page_shows_it(ada: Any) -> None:
    notice, topic = old_notice(ada, "Hello"), f"user:{ada.pk}"
    seen: list[Any] = []

    def hook(user: Any, notices: Sequence[Notice]) -> None:
        seen.extend([store.take_notice(notice.id, [topic]), store.hold_notice(notice.id, [topic], "page").granted])
        seen.append(store.take_notices(topic))

    unseen.hand_over(hook)
    assert seen == [False, False, []]


def test_a_process_that_dies_while_it_hands_over_loses_nothing_and_the_notice_is_handed_over_again_later(
    ada: Any,
) -> None:
    old_notice(ada, "Hello")
    with pytest.raises(SystemExit):  # as if it was killed: no code of ours runs after that
        unseen.hand_over(Hook(error=SystemExit()))
    again = Hook()
    assert unseen.hand_over(again).notices == 0  # the mail may be on its way
    StoredNotice.objects.update(held_until=store.now() - 1)  # HANDING_OVER_S later
    assert unseen.hand_over(again).notices == 1
    assert again.calls == [("ada", ["Hello"])]


def test_a_notice_of_a_handover_that_died_is_shown_by_a_page_after_its_time(ada: Any) -> None:
    notice, topic, now = old_notice(ada, "Hello"), f"user:{ada.pk}", store.now()
    assert store.hold_due(topic, "dead", now=now)
    assert not store.hold_notice(notice.id, [topic], "page", now=now + HANDING_OVER_S - 1).granted
    assert store.hold_notice(notice.id, [topic], "page", now=now + HANDING_OVER_S + 1).granted


@pytest.mark.parametrize("hook", [Hook(answer=False), Hook(error=OSError("mail server away"))])
def test_what_the_hook_declines_or_fails_to_send_is_given_back_at_once(ada: Any, hook: Hook) -> None:
    old_notice(ada, "Hello")
    assert unseen.hand_over(hook).notices == 0
    assert waiting(ada) == ["Hello"]


def test_after_three_errors_in_a_row_the_rest_waits_for_the_next_call() -> None:
    for n in range(5):
        old_notice(person(f"user {n}"), "Hello")
    hook = Hook(error=OSError("away"))
    assert unseen.hand_over(hook).failures == len(hook.calls) == 3


def test_users_whose_mail_is_refused_again_and_again_do_not_hold_up_the_others() -> None:
    refused = {f"refused {n}" for n in range(unseen.MAX_FAILURES + 1)}
    for name in ("first", *sorted(refused), "last"):  # One of the two comes after those that are refused.
        old_notice(person(name), "Hello")
    handed_over: list[str] = []

    def hook(user: Any, _notices: Sequence[Notice]) -> None:
        if user.get_username() in refused:
            raise OSError("no such mailbox")
        handed_over.append(user.get_username())

    for _ in range(2):  # At the latest by the second call, which begins with those that did not fail.
        unseen.hand_over(hook)
    assert sorted(handed_over) == ["first", "last"]


def test_users_without_an_address_inactive_users_and_sessions_keep_their_notices_for_a_page() -> None:
    users = [person("no address"), person("inactive", email="i@example.com", is_active=False)]
    for user in users:
        old_notice(user, "Hello")
    store.add_notice("session:s", "Hello", now=store.now() - 2 * HOUR_S)
    unseen.hand_over()
    assert outbox.outbox == []
    assert StoredNotice.objects.filter(shown_at=None, held_until=None).count() == 3


def test_a_person_with_very_many_messages_gets_the_newest_first_and_the_others_by_the_next_calls(ada: Any) -> None:
    for n in range(HANDED_OVER_TOGETHER + 1):
        old_notice(ada, f"{n}", age_s=2 * HOUR_S + n)
    hook = Hook()
    assert [unseen.hand_over(hook).notices for _ in range(3)] == [HANDED_OVER_TOGETHER, 1, 0]
    assert hook.calls[1] == ("ada", [f"{HANDED_OVER_TOGETHER}"])


def refuse(*_: object) -> int:
    raise ConnectionRefusedError


def test_the_command_reports_what_it_did_and_fails_if_the_hook_did(
    ada: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_notice(ada, "Hello")
    out = StringIO()
    call_command("telltale", "unseen", stdout=out)
    assert out.getvalue() == "Handed over 1 notices of 1 users.\n"
    # A mail server that is away. The settings that name one differ between Django's versions.
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    old_notice(ada, "Again")
    with pytest.raises(CommandError, match="failed for 1 user"):
        call_command("telltale", "unseen", stdout=out)
    settings.TELLTALE = {}
    with pytest.raises(CommandError, match="UNSEEN"):
        call_command("telltale", "unseen")
