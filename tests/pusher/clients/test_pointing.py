"""Where the official libraries are pointed at: one command, TLS, a path prefix, a project's live server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pusher import Pusher
from pusher.requests import RequestsBackend

from tests.pusher.clients.apps import MAIN, TLS_ONLY
from tests.pusher.clients.conftest import Name, js_options
from tests.pusher.clients.driver import Client, Driver
from tests.pusher.clients.raw import QUERY, RawClient
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import AppSite, server_library
from tests.pusher.clients.stand_in import StandIn
from tests.servers import running

ONE_APP = ["--app-id", MAIN.id, "--key", MAIN.key, "--secret", MAIN.secret]


def delivers(client: Client, library: Pusher, channel: str) -> None:
    """Fail unless an event of the server library reaches the client on a private channel."""
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    library.trigger(channel, "happened", {"n": 1})
    assert client.wait(kind="channel", channel=channel, event="happened")["data"] == {"n": 1}


def test_one_command_serves_one_app(drivers: Any, site: AppSite, name: Name) -> None:
    """P75, P77: no Django project, settings or database; the command says where it serves, and tells no secret."""
    with running(lambda directory: StandIn.standalone(directory, *ONE_APP)) as server:
        options = js_options(server.port, site.url, MAIN)
        client = Client(drivers("pusher_js.js", "pusher-js"), name("client-"), key=MAIN.key, options=options)
        delivers(client, server_library(MAIN, port=server.port), name("private-"))
        client.close()
        assert str(server.port) in server.output()
        assert MAIN.secret not in server.output()


def test_a_projects_live_server_serves_the_apps_of_its_settings(drivers: Any, site: AppSite, name: Name) -> None:
    """P75, P77."""
    with running(lambda directory: StandIn.live_server(directory, [MAIN.setting()])) as server:
        options = js_options(server.port, site.url, MAIN)
        client = Client(drivers("pusher_js.js", "pusher-js"), name("client-"), key=MAIN.key, options=options)
        delivers(client, server_library(MAIN, port=server.port), name("private-"))
        client.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def tls_server(certificate: tuple[Path, Path]) -> Iterator[StandIn]:
    files = ["--ssl-certfile", str(certificate[0]), "--ssl-keyfile", str(certificate[1])]

    def start(directory: Path) -> StandIn:
        apps = directory / "apps.json"
        apps.write_text(json.dumps([MAIN.setting(), TLS_ONLY.setting()]))
        return StandIn.standalone(directory, "--apps", str(apps), *files, scheme="https")

    with running(start) as server:
        yield server


@pytest.fixture(scope="module")
def trusting(certificate: tuple[Path, Path]) -> Iterator[Any]:
    """`trusting(script, argument)`: a driver whose node trusts the certificate."""
    started: list[Driver] = []

    def driver(*script: str) -> Driver:
        started.append(Driver(*script, env={"NODE_EXTRA_CA_CERTS": str(certificate[0])}))
        return started[-1]

    yield driver
    for process in started:
        process.stop()


@pytest.mark.parametrize("app", [MAIN, TLS_ONLY], ids=lambda app: app.id)
@pytest.mark.parametrize("package", ["pusher-js", "pusher-js-7"])
def test_the_libraries_connect_by_tls(
    tls_server: StandIn, trusting: Any, certificate: Any, site: AppSite, name: Name, app: Any, package: str
) -> None:
    """P6, P75, P77, P79: Python's library trusts a private authority only by a backend of its own."""
    tls = {"wsHost": "localhost", "wssPort": tls_server.port, "forceTLS": True}
    options = js_options(tls_server.port, site.url, app) | tls
    client = Client(trusting("pusher_js.js", package), name("client-"), key=app.key, options=options)

    class Backend(RequestsBackend):
        def __init__(self, client: Any, **options: Any) -> None:
            super().__init__(client, **options)
            self.options["verify"] = str(certificate[0])

    port: Any = tls_server.port
    library = Pusher(app.id, app.key, app.secret, host="localhost", port=port, ssl=True, backend=Backend)
    delivers(client, library, name("private-"))
    address = {"host": "localhost", "port": str(tls_server.port), "useTLS": True}
    settings = {"appId": app.id, "key": app.key, "secret": app.secret, **address}
    node = Client(trusting("pusher_node.js"), name("library-"), options=settings)
    assert node.call("trigger", channels="news", event="e", data="x")["status"] == 200
    client.close()


@pytest.fixture(scope="module")
def prefixed() -> Iterator[StandIn]:
    with running(lambda directory: StandIn.standalone(directory, *ONE_APP, "--prefix", "/live/push")) as server:
        yield server


def test_pusher_js_connects_below_a_prefix(prefixed: StandIn, drivers: Any, site: AppSite, name: Name) -> None:
    """P1: by `wsPath`."""
    options = js_options(prefixed.port, site.url, MAIN) | {"wsPath": "/live/push"}
    client = Client(drivers("pusher_js.js", "pusher-js"), name("client-"), key=MAIN.key, options=options)
    client.wait(kind="state", current="connected")
    client.close()


@pytest.mark.parametrize("signed_prefix", [True, False], ids=["signed with the prefix", "signed without it"])
def test_signatures_hold_below_a_prefix(prefixed: StandIn, name: Name, signed_prefix: bool) -> None:
    """P50: clients sign the path that they know; a proxy may have added or removed the prefix (a known fault)."""
    api, channel = Api(prefixed.url, MAIN, "/live/push"), name("news-")
    client = RawClient(prefixed.port, f"/live/push/app/{MAIN.key}?{QUERY}").establish()
    client.subscribe(channel)
    body = json.dumps({"name": "e", "channel": channel, "data": "x"}).encode()
    query = api.signed("POST", "events", body, {}, signed_prefix=signed_prefix)
    assert api.send_as("POST", "events", body, query).status_code == 200
    client.expect("e")
    client.close()
    altered = query | {"auth_timestamp": str(int(query["auth_timestamp"]) - 1)}
    assert api.send_as("POST", "events", body, altered).status_code == 401
    api.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--app-id", "1", "--key", "k"], "--secret"),
        (["--app-id", "letters", "--key", "k", "--secret", "s"], "letters"),
        (["--app-id", "1", "--key", "a:b", "--secret", "s"], "a:b"),
        (["--apps", "/nowhere/apps.json"], "/nowhere/apps.json"),
    ],
)
def test_a_command_that_cannot_be_run_names_what_is_wrong(options: list[str], named: str) -> None:
    """P65: and ends at once."""
    command = [sys.executable, "-m", "telltale.pusher", "--port", "0", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode != 0
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_standalone_server_has_a_health_check(prefixed: StandIn) -> None:
    """For supervisors and load balancers."""
    assert httpx.get(f"{prefixed.url}/healthz", timeout=30).status_code == 200
