"""The checks of rights go on through failures, in batches, and what messages say of users is asked in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import Bearer, Grant
from telltale.core.reasons import Reason
from telltale.core.topics import RIGHTS
from telltale.core.wire import Envelope, Event
from telltale.live import rights, rights_checker
from telltale.live.rights_checker import RightsChecker
from telltale.testing.brokers import TIMEOUT_S

NOW = 1_790_000_000.0
ADA, GRACE = (Bearer(user=key, is_active=True) for key in "78")


class Follower:
    """A client, as the checker uses it."""

    def __init__(self, bearer: Bearer | None, session: str = "", issued_at: float = NOW) -> None:
        self.connection = Connection(opened_at=0.0)
        self.connection.grant = Grant(
            topics=frozenset(), expires_at=NOW + 300, issued_at=issued_at, bearer=bearer, session=session
        )

    def close(self, reason: Reason) -> None:
        self.connection.close(reason)

    @property
    def closed(self) -> Reason | None:
        return self.connection.closed


def checking(followers: list[Any], work: Callable[[RightsChecker], Awaitable[None]]) -> None:
    """Run `work` with a checker for these clients."""

    async def run() -> None:
        checker = RightsChecker(lambda: followers, lambda: NOW)
        try:
            await asyncio.wait_for(work(checker), TIMEOUT_S)
        finally:
            checker.close()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (what it waits for has no event)
        await asyncio.sleep(0.01)


def has_length(values: list[Any], count: int) -> bool:
    return len(values) >= count


class Asked:
    """In place of `rights.ended`: keeps the batches it was asked for."""

    def __init__(self, *without_rights: Bearer, from_batch: int = 1) -> None:
        self.batches: list[list[Bearer]] = []
        self._without_rights, self._from_batch = set(without_rights), from_batch

    def __call__(self, bearers: list[Bearer]) -> set[Bearer]:
        self.batches.append(bearers)
        return self._without_rights & set(bearers) if len(self.batches) >= self._from_batch else set()

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def message(data: Any) -> Envelope:
    return Envelope(topics=(RIGHTS,), event=Event(topic=RIGHTS, name="ended", data=data))


def test_a_check_that_fails_lets_the_client_in_and_the_next_check_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [DatabaseError("down"), {ADA}]

    def ended(bearers: list[Bearer]) -> set[Bearer]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return set(answer)

    monkeypatch.setattr(rights, "ended", ended)
    verdicts: list[bool] = []

    async def work(checker: RightsChecker) -> None:
        for count in (1, 2):
            checker.check(ADA, verdicts.append)
            await until(partial(has_length, verdicts, count))

    checking([], work)
    assert verdicts == [False, True]


def test_clients_that_come_together_are_checked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    monkeypatch.setattr(rights, "ended", asked)
    verdicts: list[bool] = []

    async def work(checker: RightsChecker) -> None:
        for n in range(rights.BATCH + 1):
            checker.check(Bearer(user=str(n), is_active=True), verdicts.append)
        await until(lambda: len(verdicts) == rights.BATCH + 1)

    checking([], work)
    assert asked.sizes == [rights.BATCH, 1]


def test_the_regular_checks_ask_for_all_users_in_batches_and_close_those_without_rights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rights_checker, "PASS_S", 0.1)
    monkeypatch.setattr(rights_checker, "SLICE", 2)
    monkeypatch.setattr(rights, "BATCH", 2)
    asked = Asked(ADA)
    monkeypatch.setattr(rights, "ended", asked)
    others = [Follower(Bearer(user=str(n), is_active=True)) for n in range(20, 24)]
    ada, tab, anonymous = Follower(ADA), Follower(ADA), Follower(None)

    async def work(checker: RightsChecker) -> None:
        checker.start()
        await until(lambda: ada.closed and tab.closed)
        await until(lambda: len(asked.sizes) >= 3)

    checking([ada, *others, tab, anonymous], work)
    assert (ada.closed, tab.closed) == (reasons.EXPIRED, reasons.EXPIRED)
    assert not any(follower.closed for follower in (*others, anonymous))
    assert asked.sizes[:3] == [2, 2, 1]


def test_a_message_about_a_session_closes_its_clients_and_refuses_its_tickets_but_not_later_ones() -> None:
    def grant(session: str, age_s: float) -> Grant:
        return Grant(topics=frozenset(), expires_at=NOW + 300, issued_at=NOW - age_s, session=session)

    here, elsewhere = Follower(ADA, "abc", NOW - 60), Follower(ADA, "def", NOW - 60)

    async def work(checker: RightsChecker) -> None:
        checker.receive(message({"sessions": ["abc", "x"]}))
        await until(lambda: here.closed)
        assert checker.has_signed_out(grant("abc", 60))
        # The sign-out may not be complete when the page asks for its next ticket.
        assert checker.has_signed_out(grant("abc", -rights_checker.SETTLE_S + 0.5))
        for later in (grant("abc", -rights_checker.SETTLE_S - 0.5), grant("def", 60), grant("", 60)):
            assert not checker.has_signed_out(later)

    checking([here, elsewhere], work)
    assert (here.closed, elsewhere.closed) == (reasons.EXPIRED, None)


def test_s48_the_sessions_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights_checker, "MAX_SESSIONS", 2)

    async def work(checker: RightsChecker) -> None:
        for name in ("a", "b", "a", "c"):
            checker.receive(message({"sessions": [name]}))
        old = [Grant(topics=frozenset(), expires_at=NOW, issued_at=NOW, session=name) for name in "abc"]
        assert [checker.has_signed_out(grant) for grant in old] == [True, False, True]

    checking([], work)


def test_a_message_about_a_user_only_asks_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights_checker, "SETTLE_S", 0.0)
    asked = Asked(GRACE, from_batch=2)
    monkeypatch.setattr(rights, "ended", asked)
    ada, grace = Follower(ADA), Follower(GRACE)

    async def work(checker: RightsChecker) -> None:
        checker.receive(message({"users": ["8"]}))
        await until(lambda: asked.batches)
        assert grace.closed is None
        checker.receive(message({"users": ["8"]}))
        await until(lambda: grace.closed)

    checking([ada, grace], work)
    assert asked.batches == [[GRACE], [GRACE]]
    assert ada.closed is None


@pytest.mark.parametrize("data", [None, 7, [], {"sessions": "abc"}, {"users": [7, None]}, {"sessions": []}, {"x": []}])
def test_a_malformed_message_about_rights_is_ignored(data: Any) -> None:
    ada = Follower(ADA, "abc")

    async def work(checker: RightsChecker) -> None:
        checker.receive(message(data))
        await asyncio.sleep(0)
        assert not checker.has_signed_out(ada.connection.grant)  # type: ignore[arg-type]

    checking([ada], work)
    assert ada.closed is None
