"""The HTTP transports over two real processes, with each request at the other one than the request before."""

import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright

from telltale.pusher.server.fallback.frames import STREAM_CHARACTERS
from tests.browser.conftest import CHROMIUM
from tests.http_proxy import Proxy
from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.fallback_pages import CONNECT, SUBSCRIBE, fallback_options
from tests.pusher.clients.signing import channel_auth
from tests.pusher.clients.site import AppSite
from tests.pusher.clients.xhr import QUERY, XhrClient
from tests.pusher.server.site_processes import MakeProcess, Process, processes
from tests.servers import Redis, running
from tests.transports.sites import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

Pair = tuple[Process, Process]
Join = Callable[..., XhrClient]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> Iterator[Pair]:
    """Two processes that know each other, shared by tests."""
    with processes(tmp_path_factory.mktemp("pair"), MAIN, redis.url) as make_process:
        yield know_each_other(make_process(), make_process())


@pytest.fixture
def make_process(tmp_path: Path, redis: Redis) -> Iterator[MakeProcess]:
    """Starts processes, which the test may end. Their database at the broker is their own: they know no others."""
    with processes(tmp_path, MAIN, redis.url.removesuffix("0") + "1") as make_process:
        yield make_process


@pytest.fixture(params=["xhr_streaming", "xhr"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def channel() -> str:
    """A name of the test's own: clients of other tests may still be there."""
    return secrets.token_hex(4)


@pytest.fixture
def join(transport: str) -> Iterator[Join]:
    """`join(process, …)`: a client whose requests go to these processes in turn; it has read the first message."""
    with ExitStack() as stack:

        def join(*at: Process) -> XhrClient:
            client = XhrClient([url(process) for process in at], MAIN.key, transport)
            stack.callback(client.vanish)
            return client.establish()

        yield join


def url(process: Process) -> str:
    return f"http://127.0.0.1:{process.port}"


def know_each_other(here: Process, there: Process) -> Pair:
    """Wait until each of the two processes has heard of a subscriber at the other one."""
    for process, other in ((here, there), (there, here)):
        subscriber = process.subscriber(f"greeting-{process.port}")
        wait_until(
            lambda other=other, process=process: other.info(f"greeting-{process.port}")["occupied"],
            "the processes know each other",
        )
        subscriber.close()
    return here, there


def subscribe(client: XhrClient, channel: str) -> None:
    answer = client.subscribe(channel, channel_auth(MAIN, client.socket_id, channel))
    assert answer["event"] == "pusher_internal:subscription_succeeded"


def test_requests_that_reach_the_processes_in_turn_are_one_session(pair: Pair, join: Join, channel: str) -> None:
    """P71–P73: events in their order, client events both ways, and the same socket id all the time."""
    here, there = pair
    client, other = join(here, there), join(there, here)
    for one in (client, other):
        subscribe(one, f"private-{channel}")
    for number in range(50):
        pair[number % 2].api.publish("e", f"private-{channel}", str(number), socket_id=other.socket_id)
        assert client.expect("e")["data"] == str(number)
    client.send("client-x", {"n": 1}, channel=f"private-{channel}")
    assert other.expect("client-x")["data"] == {"n": 1}
    other.send("client-y", {"n": 2}, channel=f"private-{channel}")
    assert client.expect("client-y")["data"] == {"n": 2}


def test_a_stream_is_continued_at_the_other_process_without_loss(pair: Pair, join: Join, channel: str) -> None:
    """P72."""
    client = join(*pair)
    subscribe(client, channel)
    data = "x" * 10_000
    for number in range(STREAM_CHARACTERS * 3 // len(data)):
        pair[0].api.publish("e", channel, f"{number} {data}")
        assert client.expect("e")["data"] == f"{number} {data}"
    assert client.requests > 2


def test_a_member_is_one_connection_wherever_its_requests_go(pair: Pair, join: Join, channel: str) -> None:
    """P27, P28, P73."""
    here, there = pair
    client, room = join(here, there), f"presence-{channel}"
    data = json.dumps({"user_id": "ann"})
    client.subscribe(room, channel_auth(MAIN, client.socket_id, room, data), data)
    bob, told = there.member(room, "bob")
    assert told <= {"ann", "bob"}
    wait_until(lambda: here.users(room) == there.users(room) == {"ann", "bob"}, "both are members")
    client.vanish()
    assert json.loads(bob.until("pusher_internal:member_removed")["data"]) == {"user_id": "ann"}


@pytest.mark.parametrize("transport", ["xhr"])
def test_a_client_of_a_killed_process_is_told_to_connect_anew(make_process: MakeProcess, join: Join) -> None:
    """A poll that waits at the other process ends with an error, and a later request begins a new session."""
    here, there = know_each_other(make_process(), make_process())
    client = join(here)
    address = f"{url(there)}{client.path}"
    with ThreadPoolExecutor(1) as thread:
        poll = thread.submit(httpx.post, f"{address}/xhr{QUERY}", timeout=60)
        client.send("pusher:ping")
        assert "pusher:pong" in poll.result().text, "The other process knows where the session is."
        poll = thread.submit(httpx.post, f"{address}/xhr{QUERY}", timeout=60)
        here.kill()
        assert poll.result().status_code == 404
    assert httpx.post(f"{address}/xhr_send", content="[]", timeout=60).status_code == 404
    assert httpx.post(f"{address}/xhr{QUERY}", timeout=60).text.startswith("o{}")


def test_a_page_behind_a_balancer_without_sticky_sessions_works(pair: Pair, transport: str, channel: str) -> None:
    """P69, P73: unmodified pusher-js in a browser; its requests go to the two processes in turn."""
    name = {"xhr": "xhr_polling"}.get(transport, transport)
    site = AppSite()
    with Proxy(pair[0].port, other_ports=[pair[1].port]) as proxy, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(site.url)
        page.add_script_tag(url="/pusher-js.js")
        page.evaluate(CONNECT, [MAIN.key, fallback_options(proxy, site, MAIN) | {"enabledTransports": [name]}])
        page.evaluate(SUBSCRIBE, f"private-{channel}")
        page.wait_for_function("channel => pusher.channel(channel).subscribed", arg=f"private-{channel}")
        for number in range(10):
            pair[number % 2].api.publish("happened", f"private-{channel}", {"n": number})
            page.wait_for_function("n => events.some(([, , data]) => data.n === n)", arg=number)
        assert page.evaluate("states") == ["connected"], "It never reconnected."
        browser.close()
    site.stop()
