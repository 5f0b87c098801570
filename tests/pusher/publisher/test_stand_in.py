"""A whole site: Telltale publishes by `pusher://`, the stand-in server delivers, the site's views sign, and the clients
are the official ones.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import Client as Visitor

import telltale
from telltale import brokers
from telltale.core.states import State
from telltale.pusher import signals
from telltale.pusher.publisher import excluding
from telltale.pusher.publisher.channels import channel_of
from telltale.pusher.publisher.events import UPDATE
from telltale.testing.brokers import assert_eventually
from tests.factories import ended, person, started, task_of
from tests.pusher.clients.apps import App
from tests.pusher.clients.driver import Client, Driver
from tests.pusher.clients.raw import QUERY, RawClient
from tests.pusher.clients.stand_in import StandIn
from tests.servers import running

pytestmark = [pytest.mark.service, pytest.mark.django_db(transaction=True)]

APP = App.number(1)
SMALL = App.number(2, LIMITS={"EVENT_BYTES": 100})
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def stand_in(live_server: Any) -> Iterator[StandIn]:
    """A stand-in server whose webhooks come to the site."""

    def start(directory: Path) -> StandIn:
        path = directory / "apps.json"
        path.write_text(json.dumps([APP.setting([f"{live_server.url}/pusher/webhook/"]), SMALL.setting()]))
        return StandIn.standalone(directory, "--apps", str(path))

    with running(start) as server:
        yield server


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver("pusher_js.js", "pusher-js")
    yield driver
    driver.stop()


def broker_url(stand_in: StandIn, app: App = APP) -> str:
    return f"pusher://{app.key}:{app.secret}@127.0.0.1:{stand_in.port}/{app.id}?tls=0"


@pytest.fixture(autouse=True)
def site(settings: Any, stand_in: StandIn) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.pusher.site_urls"
    settings.TELLTALE = {
        **settings.TELLTALE,
        "BROKER": broker_url(stand_in),
        "CAN_FOLLOW": "tests.pusher.site_urls.can_follow",
        "PUSHER_CHANNELS": {"room": "presence", "letter": "private-encrypted", "news": "public"},
        "PUSHER_MASTER_KEY": MASTER_KEY,
    }
    yield
    brokers.reset()


Subscribe = Callable[..., Client]


@pytest.fixture
def subscribe(driver: Driver, live_server: Any, stand_in: StandIn) -> Iterator[Subscribe]:
    """`subscribe("a", channel)`: a pusher-js client that asks the site, and has subscribed."""
    options = {
        "cluster": "",
        "wsHost": "127.0.0.1",
        "wsPort": stand_in.port,
        "forceTLS": False,
        "enableStats": False,
        "channelAuthorization": {"endpoint": f"{live_server.url}/pusher/auth", "transport": "ajax"},
    }
    with ExitStack() as stack:

        def subscribe(name: str, channel: str) -> Client:
            client = Client(driver, name, key=APP.key, options=options, isEncrypted=True)
            stack.callback(client.close)
            client.call("subscribe", channel=channel)
            client.wait(kind="channel", event="pusher:subscription_succeeded")
            return client

        yield subscribe


@pytest.fixture
def raw(stand_in: StandIn) -> Iterator[RawClient]:
    client = RawClient(stand_in.port, f"/app/{APP.key}?{QUERY}").establish()
    yield client
    client.close()


def sign(visitor: Visitor, path: str, **fields: str) -> dict[str, str]:
    """The site's answer to pusher-js."""
    response = visitor.post(path, fields)
    assert response.status_code == 200, response.content
    signed: dict[str, str] = response.json()
    return signed


def test_pusher_js_hears_a_sites_own_event_under_its_own_name(subscribe: Subscribe) -> None:
    """P16, P24."""
    client = subscribe("a", channel_of("project:7", {}))
    telltale.publish("project:7", "build.finished", {"ok": True, "text": "Grüße"})
    assert client.wait(kind="channel", event="build.finished")["data"] == {"ok": True, "text": "Grüße"}


def test_public_channels_need_no_signature(subscribe: Subscribe) -> None:
    client = subscribe("a", "news-today")
    telltale.publish("news:today", "written")
    assert client.wait(kind="channel", event="written")["data"] is None


def test_a_page_that_may_follow_a_task_hears_of_its_end(subscribe: Subscribe, settings: Any) -> None:
    task = task_of(label="Import airports")
    settings.TELLTALE = {**settings.TELLTALE, "CAN_FOLLOW": "tests.pusher.site_urls.can_follow_tasks"}
    client = subscribe("a", channel_of(f"task:{task.pk}", {}))
    ended(started(task))
    while True:
        update = client.wait(kind="channel", event=UPDATE)["data"]
        if update["tasks"][0]["ended"]:
            break
    assert update["type"] == "update"
    [snapshot] = update["tasks"]
    assert (snapshot["id"], snapshot["state"], snapshot["label"]) == (str(task.pk), State.SUCCEEDED, "Import airports")


def test_the_page_that_caused_an_event_does_not_hear_it(subscribe: Subscribe) -> None:
    """P55."""
    first, second = subscribe("a", "private-project-7"), subscribe("b", "private-project-7")
    with excluding(first.call("socket_id")):
        telltale.publish("project:7", "moved", 1)
    telltale.publish("project:7", "last")
    for client in (first, second):
        client.wait(kind="channel", event="last")
    assert first.seen(kind="channel", event="moved") == []
    assert [event["data"] for event in second.seen(kind="channel", event="moved")] == [1]


def test_pusher_js_decrypts_with_the_key_that_the_site_gives_it(subscribe: Subscribe) -> None:
    """P25."""
    client = subscribe("a", "private-encrypted-letter-7")
    telltale.publish("letter:7", "written", {"text": "Grüße"})
    assert client.wait(kind="channel", event="written")["data"] == {"text": "Grüße"}


def test_a_signed_in_user_is_a_member_of_a_presence_channel_and_hears_their_own_notices(
    raw: RawClient, client: Visitor
) -> None:
    """P22, P26, P27."""
    ada = person("ada")
    client.force_login(ada)
    for channel in ("presence-room-7", f"private-user-{ada.pk}"):
        signed = sign(client, "/pusher/auth/", socket_id=raw.socket_id, channel_name=channel)
        raw.ask_for(channel, signed["auth"], signed.get("channel_data"))
        data = json.loads(raw.expect("pusher_internal:subscription_succeeded")["data"])
        if channel.startswith("presence-"):
            assert data["presence"]["hash"] == {str(ada.pk): {"name": "ada"}}
    telltale.notify(ada, "Your report is ready.")
    [notice] = json.loads(raw.expect(UPDATE)["data"])["notices"]
    assert notice["text"] == "Your report is ready."


def test_a_signed_in_user_signs_in_on_the_connection(raw: RawClient, client: Visitor) -> None:
    """P43, P44."""
    client.force_login(person("ada"))
    raw.send("pusher:signin", sign(client, "/pusher/user-auth/", socket_id=raw.socket_id))
    raw.expect("pusher:signin_success")


def test_the_site_gets_signals_by_the_stand_ins_webhooks(raw: RawClient, client: Visitor) -> None:
    """P66, P67."""
    received: list[dict[str, Any]] = []

    def receive(sender: object, signal: Signal, **arguments: Any) -> None:
        received.append(arguments)

    signals.channel_occupied.connect(receive)
    try:
        raw.ask_for("news-of-the-site")
        expected = {"app_id": APP.id, "channel": "news-of-the-site"}
        assert_eventually(lambda: expected in received, "the site's receiver is called")
    finally:
        signals.channel_occupied.disconnect(receive)


def test_an_event_beyond_the_servers_own_limit_is_logged_and_the_others_are_sent(
    stand_in: StandIn, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """P57."""
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": broker_url(stand_in, SMALL)}
    listener = RawClient(stand_in.port, f"/app/{SMALL.key}?{QUERY}").establish()
    listener.ask_for("news-today")
    listener.expect("pusher_internal:subscription_succeeded")
    telltale.publish("news:today", "first", "small")
    telltale.publish("news:today", "large", "x" * 500)
    telltale.publish("news:today", "last", "small")
    assert [listener.message()["event"] for _ in range(2)] == ["first", "last"]
    listener.close()
    assert "refused the event 'large' on the channel 'news-today'" in caplog.text
