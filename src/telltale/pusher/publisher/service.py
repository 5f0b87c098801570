"""Requests to a Pusher service, by way of the official library `pusher`. Only the sender's thread calls them.

The library measures Python objects instead of bytes, so sizes are checked before, in `events.py`. It also replaces the
certificates that a host is checked with by its own list, so another host gets a backend that does not.
"""

# Imported at a request otherwise: a child that is forked meanwhile would have half a module.
import encodings.idna  # noqa: F401
import json
import netrc  # noqa: F401
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import requests
from pusher import Pusher
from pusher.crypto import encrypt
from pusher.errors import PusherBadRequest, PusherBadStatus, PusherError
from pusher.requests import RequestsBackend

from telltale.pusher.protocol.channel_names import is_encrypted
from telltale.pusher.publisher.address import PusherAddress
from telltale.pusher.publisher.events import PusherEvent
from telltale.pusher.publisher.master_key import read_master_key

TIMEOUT_S: Final = 5.0
"""How long the service may take to accept a connection, and then to answer."""

_STATUSES_OF_REFUSALS: Final = ("413", "422")
_SIGNED_QUERY: Final = re.compile(r"\?auth_key=[^\s)]*")


class EventsRefused(Exception):
    """The service does not take at least one of these events: its name, its data or its channel is wrong."""


class ServiceFailed(Exception):
    """The service can't be reached, refuses the app, or does not work. The events may have been sent."""


class PusherService:
    """One app's HTTP API."""

    def __init__(self, address: PusherAddress, master_key: str | None) -> None:
        self._master_key = None if master_key is None else read_master_key(master_key)
        self._sessions: list[requests.Session] = []
        app = address.app
        self._pusher = Pusher(
            app.id,
            app.key,
            app.secret,
            timeout=TIMEOUT_S,
            backend=_Backend,
            sessions=self._sessions,
            **_location(address),
        )

    def send(self, events: Sequence[PusherEvent]) -> None:
        """Send at most 10 events in one request.

        Raises `EventsRefused`, after which none of them was sent, or `ServiceFailed`.
        """
        batch = [self._as_json(event) for event in events]
        try:
            self._trigger(batch)
        except PusherBadRequest as error:
            raise EventsRefused(str(error)) from error
        except (PusherError, requests.RequestException, ValueError) as error:
            # ValueError: an answer that is no JSON, such as a proxy's page.
            if isinstance(error, PusherBadStatus) and str(error).startswith(_STATUSES_OF_REFUSALS):
                raise EventsRefused(str(error)) from error
            raise ServiceFailed(f"{type(error).__name__}: {_SIGNED_QUERY.sub('?…', str(error))}") from error

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions:
            session.close()

    def _trigger(self, batch: list[Mapping[str, str]]) -> None:
        try:
            self._pusher.trigger_batch(batch, already_encoded=True)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            # Often a kept-alive connection that the service closed while it was idle. The next one is new.
            self._pusher.trigger_batch(batch, already_encoded=True)

    def _as_json(self, event: PusherEvent) -> Mapping[str, str]:
        exclusion = {} if event.socket_id is None else {"socket_id": event.socket_id}
        return {"channel": event.channel, "name": event.name, "data": self._data(event), **exclusion}

    def _data(self, event: PusherEvent) -> str:
        if not is_encrypted(event.channel):
            return event.data
        encrypted: Mapping[str, str] = encrypt(event.channel, event.data, self._master_key)
        return json.dumps(encrypted)


class _Backend(RequestsBackend):  # type: ignore[misc] # the library has no types
    """Requests to a host with the certificates that the URL names, and without following redirects."""

    def __init__(
        self, client: Any, *, sessions: list[requests.Session], verify: str | bool | None = None, **options: Any
    ) -> None:
        super().__init__(client, allow_redirects=False, **options)
        if verify is not None:
            self.options["verify"] = verify
        sessions.append(self.session)


def _location(address: PusherAddress) -> dict[str, Any]:
    if address.cluster:
        return {"cluster": address.cluster}
    # True: the certificates of `requests`, or of its environment variables.
    verify = address.ca_certs or True
    return {"host": address.host, "port": address.port, "ssl": address.is_tls, "verify": verify}
