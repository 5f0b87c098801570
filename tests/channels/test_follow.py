"""`FollowMixin`: a project's own consumers, sync and async, follow topics as pages do."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, WebsocketConsumer
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.db import connections
from django.test import Client as Browser

import telltale
from telltale import brokers
from telltale.channels import FollowMixin
from telltale.channels.follow import follower, mixin
from telltale.channels.follow.inbox import Inbox
from telltale.core import reasons
from telltale.core.states import State
from telltale.core.topics import InvalidTopic, task_topic
from telltale.live.driver import driver
from telltale.owners import session_digest
from tests.channels.pages import HOOK, PATIENCE_S, Page, cookies_of, in_thread, run, run_with_page, until
from tests.channels.project import SyncProject, consumers, held, released
from tests.factories import ended, moved, person, started, task_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]  # seconds of waiting: not in `make quick`

BOTH = pytest.mark.parametrize("kind", ["async", "sync"])


@pytest.fixture(autouse=True)
def project(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": HOOK}
    brokers.reset()
    monkeypatch.setattr(follower, "REOPEN_S", 0.05)


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "RECHECK_S", (0.2, 0.3))
    monkeypatch.setattr(follower, "RETRY_CHECK_S", 0.2)


@pytest.fixture(autouse=True)
def none_held() -> Iterator[None]:
    held.clear()
    released.clear()
    yield
    released.set()


def inbox() -> Inbox:
    """Of the consumer that is held."""
    [consumer] = held
    assert consumer._follower is not None
    return consumer._follower.inbox


@pytest.fixture(autouse=True)
def no_connections_left() -> Iterator[None]:
    yield
    connections.close_all()


# What is delivered -------------------------------------------------------------------------------


@BOTH
def test_the_stored_snapshot_comes_first_and_then_the_newest(kind: str) -> None:
    ada = person()
    task = task_of(ada)

    async def scenario(page: Page) -> None:
        assert (await page.task())["state"] == "queued"
        claim = await in_thread(lambda: started(task))
        await in_thread(lambda: moved(claim, 0.5, seq=2))
        assert (await page.task(lambda t: t["seq"] == 2))["progress"]["fraction"] == 0.5
        await in_thread(lambda: ended(claim))
        assert (await page.task(lambda t: t["ended"]))["state"] == "succeeded"

    run_with_page(kind, f"user:{ada.pk}", cookies_of(ada)[1], scenario)


@BOTH
def test_events_and_notices_come_in_their_order_and_a_notice_is_shown_once(kind: str) -> None:
    ada = person()

    async def scenario(page: Page) -> None:
        for n in range(3):
            await in_thread(lambda n=n: telltale.publish(f"user:{ada.pk}", "chapter", {"n": n}))
        await page.until(lambda m: m.get("event", {}).get("data") == {"n": 2})
        assert [m["event"]["data"]["n"] for m in page.received if "event" in m] == [0, 1, 2]
        await in_thread(lambda: telltale.notify(ada, "Your export is ready"))
        assert (await page.until(lambda m: "notice" in m))["notice"]["text"] == "Your export is ready"
        await page.send(take=None)
        assert page.received[-2] == {"taken": [True, False]}

    run_with_page(kind, f"user:{ada.pk}", cookies_of(ada)[1], scenario)


def test_a_consumer_that_changes_the_data_of_an_event_changes_it_for_no_other() -> None:
    ada = person()
    _, headers = cookies_of(ada)

    async def scenario() -> None:
        pages = [Page(f"/async/user:{ada.pk}/", headers) for _ in range(3)]
        for page in pages:
            assert await page.connect()
        await in_thread(lambda: telltale.publish(f"user:{ada.pk}", "chapter", {"n": 1}))
        for page in pages:
            assert (await page.until(lambda m: "event" in m))["event"]["data"] == {"n": 1}
            await page.leave()

    run(scenario)


@BOTH
def test_a_slow_consumer_gets_only_the_newest_and_never_a_queue(kind: str) -> None:
    ada = person()
    tasks = [task_of(ada, label=label) for label in "ab"]
    claims = [started(task) for task in tasks]

    async def scenario(page: Page) -> None:
        labels: set[str] = set()
        while len(labels) < 2:
            labels.add((await page.task())["label"])
        await page.send(hold=None)
        await in_thread(lambda: moved(claims[0], 0.01, seq=2))
        await page.task(lambda t: t["seq"] == 2)  # Now it is held.
        for seq in range(3, 10):
            for claim in claims:
                await in_thread(lambda claim=claim, seq=seq: moved(claim, seq / 100, seq=seq))
            await until(lambda seq=seq: [getattr(item, "seq", 0) for item in inbox()._waiting.values()] == [seq, seq])
        released.set()
        before = len(page.received)
        newest = {(await page.task())["label"]: page.received[-1]["task"]["seq"] for _ in range(2)}
        assert newest == {"a": 9, "b": 9}
        assert len(page.received) == before + 2

    run_with_page(kind, f"user:{ada.pk}", cookies_of(ada)[1], scenario)


def test_a_sync_consumer_is_called_in_the_thread_of_its_other_handlers() -> None:
    ada = person()
    task_of(ada)
    SyncProject.threads.clear()

    async def scenario(page: Page) -> None:
        await page.task()
        [thread] = SyncProject.threads
        assert thread != threading.get_ident()

    run_with_page("sync", f"user:{ada.pk}", cookies_of(ada)[1], scenario)


@BOTH
def test_progress_never_goes_backwards_when_a_topic_is_dropped_and_followed_again(kind: str) -> None:
    ada = person()
    claim = started(task_of(ada))
    topics = [f"user:{ada.pk}", task_topic(claim.id)]

    async def scenario(page: Page) -> None:
        await page.task()
        for seq in range(2, 12):
            await page.send(follow=topics)
            await in_thread(lambda seq=seq: moved(claim, seq / 100, seq=seq))
            await page.send(unfollow=[topics[seq % 2]])
        if not any(m["task"]["seq"] == 11 for m in page.received if "task" in m):
            await page.task(lambda t: t["seq"] == 11)
        seqs = [m["task"]["seq"] for m in page.received if "task" in m]
        assert seqs == sorted(set(seqs))

    run_with_page(kind, topics[0], cookies_of(ada)[1], scenario)


@BOTH
def test_nothing_comes_of_a_topic_that_is_not_followed_any_more(kind: str) -> None:
    ada = person()
    task, other = task_of(ada, label="kept"), task_of(ada, label="dropped")

    async def scenario(page: Page) -> None:
        await page.task(lambda t: t["label"] == "dropped")
        await page.send(unfollow=[task_topic(other.pk)])
        await in_thread(lambda: moved(started(other), 0.5, seq=2))
        await in_thread(lambda: moved(started(task), 0.5, seq=2))
        await page.task(lambda t: t["label"] == "kept" and t["seq"] == 2)
        assert not [m for m in page.received if m.get("task", {}).get("seq") == 2 and m["task"]["label"] == "dropped"]
        await page.send(unfollow=[task_topic(task.pk)])
        assert driver().hub.topics == frozenset()

    run_with_page(kind, f"{task_topic(task.pk)},{task_topic(other.pk)}", cookies_of(ada)[1], scenario)


@BOTH
def test_the_consumer_still_gets_its_clients_messages_while_much_is_published(kind: str) -> None:
    ada = person()

    async def scenario(page: Page) -> None:
        is_over = asyncio.Event()

        async def publish() -> None:
            n = 0
            while not is_over.is_set():
                await in_thread(lambda n=n: telltale.publish(f"user:{ada.pk}", "n", n))
                n += 1

        publishing = asyncio.ensure_future(publish())
        for n in range(20):
            await page.send(echo=n)
        await page.until(lambda m: "event" in m)
        is_over.set()
        await publishing

    run_with_page(kind, f"user:{ada.pk}", cookies_of(ada)[1], scenario)


def test_more_events_than_may_wait_cost_events_and_no_memory_and_the_consumer_goes_on() -> None:
    ada = person()
    task = task_of(ada)

    async def scenario(page: Page) -> None:
        await page.task()
        await page.send(hold=None)
        for n in range(1_000):
            await in_thread(lambda n=n: telltale.publish(f"user:{ada.pk}", "n", n))
        assert max((len(c.outbox._queue) for c in driver().hub.connections), default=0) <= 200
        released.set()
        await page.send(echo=None)
        assert driver().counts["closed resync"] >= 1
        await in_thread(lambda: moved(started(task), 0.5, seq=2))
        await page.task(lambda t: t["seq"] == 2)

    run_with_page("async", f"user:{ada.pk}", cookies_of(ada)[1], scenario)


@pytest.mark.parametrize("text", ["{", '{"type":"update","tasks":[{}],"notices":[{"x":1}],"events":[7]}'])
def test_a_malformed_message_is_skipped_and_logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    from telltale.channels.follow.inbox import Frame, frame_of

    assert frame_of(text) == Frame()
    assert "was skipped" in caplog.text


# Who may follow ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("topic", ["project:7", "user:999999"])
def test_a_refused_topic_denies_the_connection_and_the_log_names_it_and_the_fix(
    kind: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    ada = person()
    _, headers = cookies_of(ada)

    async def scenario() -> None:
        assert not await Page(f"/{kind}/{topic}/", headers).connect()
        assert driver().connection_count == 0

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert f"can't follow {topic} for user {ada.pk}. TELLTALE['CAN_FOLLOW'] ({HOOK}) does not allow it" in caplog.text


@BOTH
def test_without_a_hook_the_refusal_says_how_to_allow_it(kind: str, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": None}

    async def scenario(page: Page) -> None:
        await page.send(follow=["project:7"])
        [refusal] = [m["refused"] for m in page.received if "refused" in m]
        assert "can't follow project:7 for an anonymous visitor" in refusal
        assert "AuthMiddlewareStack" in refusal
        assert "set TELLTALE['CAN_FOLLOW']" in refusal

    run_with_page(kind, "none", [], scenario)


@BOTH
def test_all_topics_of_a_call_are_followed_or_none(kind: str) -> None:
    ada = person()

    async def scenario(page: Page) -> None:
        await page.send(follow=[f"user:{ada.pk}", "project:7"])
        assert driver().hub.topics == frozenset()
        await in_thread(lambda: ada.groups.add(Group.objects.create(name="project:7")))
        await page.send(follow=[f"user:{ada.pk}", "project:7"])
        assert driver().hub.topics == {f"user:{ada.pk}", "project:7"}

    run_with_page(kind, "none", cookies_of(ada)[1], scenario)


def test_an_anonymous_visitor_follows_their_own_session_while_it_exists(quick_checks: None) -> None:
    browser, headers = cookies_of()
    topic = f"session:{session_digest(str(browser.session.session_key))}"

    async def scenario(page: Page) -> None:
        await in_thread(lambda: telltale.publish(topic, "hello"))
        await page.until(lambda m: "event" in m)
        await in_thread(lambda: browser.session.delete(browser.session.session_key))
        assert await page.until(lambda m: "unfollowed" in m) == {"unfollowed": topic, "reason": "forbidden"}

    run_with_page("async", topic, headers, scenario)


def _log_out(user: Any, browser: Browser) -> None:
    browser.logout()


def _change_password(user: Any, browser: Browser) -> None:
    user.set_password("another")
    user.save()


def _disable(user: Any, browser: Browser) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def _delete(user: Any, browser: Browser) -> None:
    User.objects.filter(pk=user.pk).delete()


@BOTH
@pytest.mark.parametrize("ends", [_log_out, _change_password, _disable, _delete])
def test_a_visitor_who_may_not_follow_any_more_is_unfollowed(quick_checks: None, kind: str, ends: Any) -> None:
    ada = person()
    browser, headers = cookies_of(ada)
    topic = f"user:{ada.pk}"

    async def scenario(page: Page) -> None:
        await in_thread(lambda: telltale.publish(topic, "before"))
        await page.until(lambda m: "event" in m)
        await in_thread(lambda: ends(ada, browser))
        assert await page.until(lambda m: "unfollowed" in m) == {"unfollowed": topic, "reason": "forbidden"}
        assert driver().connection_count == 0
        await in_thread(lambda: telltale.publish(topic, "after"))
        assert await page.silence(0.3)
        await page.send(follow=[topic])  # The scope still says that it is Ada.
        assert "refused" in page.received[-2]

    run_with_page(kind, topic, headers, scenario)


def test_the_check_in_the_background_writes_nothing(quick_checks: None, settings: Any) -> None:
    ada = person()
    browser, headers = cookies_of(ada)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]

    async def scenario(page: Page) -> None:
        settings.SECRET_KEY = "a newer one"
        await asyncio.sleep(1.0)
        await in_thread(lambda: telltale.publish(f"user:{ada.pk}", "still"))
        await page.until(lambda m: "event" in m)

    session_key = browser.session.session_key
    run_with_page("async", f"user:{ada.pk}", headers, scenario)
    assert browser.session.exists(session_key)


@BOTH
def test_s10_a_lost_permission_ends_one_topic_and_the_others_go_on(quick_checks: None, kind: str) -> None:
    ada = person()
    group = Group.objects.create(name="project:7")
    ada.groups.add(group)
    task = task_of(ada)

    async def scenario(page: Page) -> None:
        await page.task()
        await in_thread(lambda: ada.groups.remove(group))
        assert await page.until(lambda m: "unfollowed" in m) == {"unfollowed": "project:7", "reason": "forbidden"}
        await in_thread(lambda: telltale.publish("project:7", "secret"))
        await in_thread(lambda: moved(started(task), 0.5, seq=2))
        await page.task(lambda t: t["seq"] == 2)
        assert not [m for m in page.received if "event" in m]

    run_with_page(kind, f"user:{ada.pk},project:7", cookies_of(ada)[1], scenario)


def test_what_waits_for_a_slow_consumer_is_not_delivered_after_the_loss(quick_checks: None) -> None:
    ada = person()
    group = Group.objects.create(name="project:7")
    ada.groups.add(group)

    async def scenario(page: Page) -> None:
        await page.send(hold=None)
        for n in range(3):
            await in_thread(lambda n=n: telltale.publish("project:7", "secret", n))
        await page.until(lambda m: "event" in m)  # Now it is held, and the others wait.
        await until(lambda: len(inbox()) == 2)
        await in_thread(lambda: ada.groups.remove(group))
        await until(lambda: driver().connection_count == 0)
        released.set()
        await page.until(lambda m: "unfollowed" in m)
        assert [m["event"]["data"] for m in page.received if "event" in m] == [0]

    run_with_page("async", "project:7", cookies_of(ada)[1], scenario)


def test_while_rights_cannot_be_checked_nothing_is_delivered_and_then_it_goes_on(
    quick_checks: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from telltale.channels.follow import mixin as follow
    from telltale.channels.follow.rights import allowed_topics

    ada = person()
    task = task_of(ada)
    claim = started(task)
    is_down = False

    def check(*arguments: Any) -> Any:
        if is_down:
            raise ConnectionError("The database is down.")
        return allowed_topics(*arguments)

    monkeypatch.setattr(follow, "allowed_topics", check)
    monkeypatch.setattr(follower, "RIGHTS_S", 1.0)

    async def scenario(page: Page) -> None:
        nonlocal is_down
        await page.task()
        is_down = True
        await until(lambda: driver().connection_count == 0)
        await in_thread(lambda: moved(claim, 0.5, seq=2))
        await in_thread(lambda: telltale.publish(f"user:{ada.pk}", "lost"))
        assert await page.silence(0.5)
        is_down = False
        await page.task(lambda t: t["seq"] == 2)
        assert not [m for m in page.received if "event" in m or "unfollowed" in m]

    run_with_page("async", f"user:{ada.pk}", cookies_of(ada)[1], scenario)
    lines = [r.message for r in caplog.records if "Checking what consumers may follow" in r.message]
    assert len(lines) == 2
    assert "failed" in lines[0]
    assert "works again" in lines[1]


def test_a_user_without_a_session_is_followed_until_the_account_is_disabled(quick_checks: None) -> None:
    ada = person()

    async def with_token(scope: Any, receive: Any, send: Any) -> None:
        await consumers(scope | {"user": ada}, receive, send)

    async def scenario() -> None:
        page = Page(f"/async/user:{ada.pk}/", [], with_token)
        assert await page.connect()
        await asyncio.sleep(0.5)
        await in_thread(lambda: _disable(ada, Browser()))
        assert (await page.until(lambda m: "unfollowed" in m))["reason"] == "forbidden"
        await page.leave()

    run(scenario)


def test_the_hook_sees_the_handshake_of_the_consumer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.channels import project as module

    seen: list[Any] = []
    monkeypatch.setattr(module, "may_follow", lambda request, topic: seen.append((request, topic)) or True)
    from telltale.pages import permissions

    permissions._hook.cache_clear()
    ada = person()

    async def scenario(page: Page) -> None:
        [(request, topic)] = seen
        assert topic == "project:7"
        assert (request.user, request.path, request.get_host()) == (ada, "/async/project:7/", "testserver")
        assert request.session.session_key == request.COOKIES[django_settings.SESSION_COOKIE_NAME]
        assert request.scope["url_route"]["kwargs"] == {"topics": "project:7"}

    try:
        run_with_page("async", "project:7", cookies_of(ada)[1], scenario)
    finally:
        permissions._hook.cache_clear()


# Limits and ends ---------------------------------------------------------------------------------


@BOTH
def test_a_server_that_is_full_refuses_and_says_so(kind: str, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS": 1}
    ada = person()
    _, headers = cookies_of(ada)

    async def scenario(page: Page) -> None:
        assert not await Page(f"/{kind}/user:{ada.pk}/", headers).connect()
        assert driver().connection_count == 1

    run_with_page(kind, f"user:{ada.pk}", headers, scenario)
    assert "Too many connections." in caplog.text
    assert "TELLTALE['CONNECTIONS']" in caplog.text


@BOTH
def test_a_server_that_stops_says_so_to_the_consumer(kind: str) -> None:
    ada = person()

    async def scenario(page: Page) -> None:
        driver().drain()
        assert await page.until(lambda m: "unfollowed" in m) == {"unfollowed": f"user:{ada.pk}", "reason": "drain"}
        await page.send(follow=[f"user:{ada.pk}"])
        assert reasons.DRAIN.meaning in page.received[-2]["refused"]

    run_with_page(kind, f"user:{ada.pk}", cookies_of(ada)[1], scenario)


@pytest.mark.parametrize(
    ("topics", "error", "message"),
    [
        ("nonsense", InvalidTopic, "nonsense"),
        ("telltale:cancellations", InvalidTopic, "reserved"),
        (",".join(f"project:{n}" for n in range(201)), ValueError, "201 topics; at most 200"),
    ],
)
@BOTH
def test_topics_that_can_never_be_followed_raise(kind: str, topics: str, error: type[Exception], message: str) -> None:
    async def scenario() -> None:
        with pytest.raises(error, match=message):
            await Page(f"/{kind}/{topics}/", []).connect()

    run(scenario)


def test_a_mixin_after_the_consumer_class_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write class Wrong\(FollowMixin, …Consumer\)"):

        class Wrong(AsyncWebsocketConsumer, FollowMixin):  # type: ignore[misc]
            pass


def test_an_async_method_in_a_sync_consumer_is_refused() -> None:
    with pytest.raises(TypeError, match="write def task_changed"):

        class Wrong(FollowMixin, WebsocketConsumer):  # type: ignore[misc]
            async def task_changed(self, snapshot: Any) -> None:
                pass


def test_a_plain_method_in_an_async_consumer_raises_when_it_is_called() -> None:
    class Wrong(FollowMixin, AsyncJsonWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            await self.follow(*self.scope["topics"])
            await self.accept()

        def event(self, event: Any) -> None:
            pass

    ada = person()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await Wrong.as_asgi()(scope | {"user": ada, "topics": [f"user:{ada.pk}"]}, receive, send)

    async def scenario() -> None:
        page = Page("/", [], application)
        assert await page.connect()
        await in_thread(lambda: telltale.publish(f"user:{ada.pk}", "x"))
        with pytest.raises(TypeError, match="write async def event"):
            await page.silence(1.0)
            await page.leave()

    run(scenario)


def test_a_consumer_without_a_method_to_call_is_told() -> None:
    class Wrong(FollowMixin, AsyncJsonWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            await self.follow("project:7")

    async def scenario() -> None:
        with pytest.raises(TypeError, match="define one of task_changed, notice, event"):
            await Page("/", [], Wrong.as_asgi()).connect()

    run(scenario)


def test_following_outside_of_a_connection_is_refused() -> None:
    with pytest.raises(RuntimeError, match="outside of a connection"):
        SyncProject().follow("project:7")


def test_a_consumer_that_ends_while_its_thread_asks_for_its_rights_follows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As under daphne, which cancels a consumer that has not ended 10 s after its client has gone."""
    is_asked, may_answer, allowed = threading.Event(), threading.Event(), mixin.allowed_topics

    def slowly(*arguments: Any) -> Any:
        is_asked.set()
        may_answer.wait(PATIENCE_S)
        return allowed(*arguments)

    ada = person()
    _, headers = cookies_of(ada)

    async def scenario() -> None:
        page = Page(f"/sync/user:{ada.pk}/", headers)
        await page.communicator.send_input({"type": "websocket.connect"})
        await until(is_asked.is_set)
        page.communicator.future.cancel()
        await until(page.communicator.future.done)
        may_answer.set()
        await asyncio.sleep(0.5)
        assert driver().connection_count == 0

    monkeypatch.setattr(mixin, "allowed_topics", slowly)
    run(scenario)


def test_a_failed_task_is_a_snapshot_like_any_other() -> None:
    ada = person()
    claim = started(task_of(ada))

    async def scenario(page: Page) -> None:
        await in_thread(lambda: ended(claim, State.FAILED, error="The file has no header."))
        assert (await page.task(lambda t: t["ended"]))["error"] == "The file has no header."

    run_with_page("async", task_topic(claim.id), cookies_of(ada)[1], scenario)
