"""A live server with its apps in the table: a saved row takes effect within seconds, also for present clients."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from telltale.pusher.models import App
from tests.pusher.clients.stand_in import StandIn
from tests.pusher.server.api.api_caller import signed
from tests.transports.sites import environment, wait_until

pytestmark = [pytest.mark.service, pytest.mark.django_db(transaction=True)]

PATIENCE_S = 30.0


def served(server: StandIn, key: str) -> connect:
    return connect(f"{server.url.replace('http', 'ws')}/app/{key}?protocol=7", open_timeout=PATIENCE_S)


def event_or_code(line: ClientConnection) -> Any:
    """Return the name of the next event, or the code of the close."""
    try:
        return json.loads(line.recv(timeout=PATIENCE_S))["event"]
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code


def first_message(server: StandIn, key: str) -> Any:
    with served(server, key) as line:
        return event_or_code(line)


def status(server: StandIn, app: App, secret: str = "") -> int:
    """Ask for the app's channels and return the answer's status."""
    path = f"/apps/{app.app_id}/channels"
    query = signed("GET", path, app={"KEY": app.key, "SECRET": secret or app.secret})
    return httpx.get(f"{server.url}{path}", params=query, timeout=PATIENCE_S).status_code


def test_rows_take_effect_while_the_server_runs(tmp_path: Path) -> None:
    """P4, P6, P52: added, with another secret, disabled, deleted."""
    old, going = App.objects.create(name="old"), App.objects.create(name="going")
    env = environment(PUSHER_APPS="telltale.pusher.models.apps")
    server = StandIn(tmp_path, ["telltale.server", "--drain-s", "5"], env)
    try:
        assert first_message(server, old.key) == "pusher:connection_established"
        assert status(server, old) == 200

        new = App(name="new")
        assert (first_message(server, new.key), status(server, new)) == (4001, 404)
        new.save()
        wait_until(lambda: status(server, new) == 200, "the new app is served", PATIENCE_S)
        assert first_message(server, new.key) == "pusher:connection_established"

        App.objects.filter(pk=new.pk).update(secret="another-secret")
        wait_until(lambda: status(server, new, "another-secret") == 200, "the new secret is valid", PATIENCE_S)
        assert status(server, new) == 401

        with served(server, old.key) as disabled, served(server, going.key) as deleted:
            for line in (disabled, deleted):
                assert event_or_code(line) == "pusher:connection_established"
            App.objects.filter(pk=old.pk).update(is_enabled=False)
            App.objects.filter(pk=going.pk).delete()
            assert (event_or_code(disabled), event_or_code(deleted)) == (4003, 4001)
        assert (first_message(server, old.key), first_message(server, going.key)) == (4003, 4001)
        assert (status(server, old), status(server, going)) == (403, 404)
    finally:
        server.stop()
