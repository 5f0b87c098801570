"""Clients that sign in as a user."""

import json
from typing import Any

from tests.pusher.clients.apps import MAIN, App
from tests.pusher.clients.raw import RawClient
from tests.pusher.clients.signing import user_auth


def sign_in(client: RawClient, user_data: str, app: App = MAIN) -> dict[str, Any]:
    """Sign in with this data, and return the answer."""
    client.send("pusher:signin", {"auth": user_auth(app, client.socket_id, user_data), "user_data": user_data})
    return client.message()


def signed_in(client: RawClient, user_id: str, app: App = MAIN, **more: Any) -> RawClient:
    """Sign the client in, and return it."""
    answer = sign_in(client, json.dumps({"id": user_id, **more}), app)
    assert answer["event"] == "pusher:signin_success", answer
    return client


def on_own_channel(client: RawClient, user_id: str) -> RawClient:
    """Subscribe to the user's own channel, as pusher-js does after a sign-in."""
    answer = client.subscribe(f"#server-to-user-{user_id}")
    assert answer["event"] == "pusher_internal:subscription_succeeded", answer
    return client
