"""The views of a site that uses a Pusher service: they sign for its pages, and receive webhooks.

pusher-js calls `auth/` before it subscribes, and `user-auth/` before it signs in. A visitor may subscribe to the
channels of the topics that they may follow: their own, and those that `TELLTALE["CAN_FOLLOW"]` allows. All three
views are for the app of the broker, or for the stand-in's (`publisher/site_apps.py`).

The two views need no CSRF token, because pusher-js sends none: they change nothing, and the page of another site can
send the request but not read the answer. In addition, a request from another site's page is refused by its `Origin`,
unless `TELLTALE["ALLOWED_ORIGINS"]` or `CSRF_TRUSTED_ORIGINS` has it.
"""

import time
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from telltale import conf
from telltale.authentication import AuthenticationRefused, find_asker
from telltale.live.access import is_trusted_origin
from telltale.live.tickets import MAX_TOPICS
from telltale.pages.guards import for_anyone
from telltale.pages.permissions import followable
from telltale.pages.responses import json_error, no_store
from telltale.pusher.protocol.channel_names import is_encrypted, is_presence
from telltale.pusher.protocol.signatures import auth_token, sign_in_text, subscription_text
from telltale.pusher.publisher import webhooks
from telltale.pusher.publisher.channels import topic_of
from telltale.pusher.publisher.exclusion import is_socket_id
from telltale.pusher.publisher.master_key import read_master_key, shared_secret
from telltale.pusher.publisher.site_apps import UnknownApp, site_app
from telltale.pusher.publisher.users import member_data, user_data
from telltale.pusher.publisher.webhooks import WebhookRefused
from telltale.pusher.pusher_apps import PusherApp
from telltale.transports.http import LiveRequest

APP_KEY: Final = "app_key"
"""The query parameter that names an app, where a site has several."""


class _Refused(Exception):
    """The request is not granted; the text says why."""

    def __init__(self, text: str, *, status: int = 403) -> None:
        super().__init__(text)
        self.status = status


Signer = Callable[[HttpRequest, PusherApp, str], dict[str, Any]]


def _signing(sign: Signer) -> Callable[[HttpRequest], HttpResponseBase]:
    """Make a view of a function (request, app, socket_id) that returns the fields of the answer."""

    @for_anyone
    @require_POST
    @wraps(sign)
    def view(request: HttpRequest) -> HttpResponseBase:
        try:
            _identify(request)
            app = site_app(request.GET.get(APP_KEY))
            return no_store(JsonResponse(sign(request, app, _socket_id(request))))
        except UnknownApp as error:
            return no_store(json_error(403, str(error)))
        except AuthenticationRefused as refusal:
            return no_store(json_error(refusal.status, str(refusal) or "Send valid credentials."))
        except _Refused as refusal:
            return no_store(json_error(refusal.status, str(refusal)))

    return view


@_signing
def auth(request: HttpRequest, app: PusherApp, socket_id: str) -> dict[str, Any]:
    """Sign a subscription to a private, presence or encrypted channel. Form fields: `socket_id`, `channel_name`.

    With several fields `channel_name`, the answer is `{"channels": {…}}`, without the channels that are refused.
    """
    names = list(dict.fromkeys(request.POST.getlist("channel_name")))
    if len(names) > MAX_TOPICS:
        raise _Refused(f"Send at most {MAX_TOPICS} fields channel_name, not {len(names)}.", status=400)
    granted = _granted(request, names)
    # Members are users, so a visitor who is not signed in gets only the other channels.
    if len(names) > 1 and not _is_signed_in(request):
        granted = [name for name in granted if not is_presence(name)]
    if not granted:
        raise _Refused("This channel doesn't exist, or you may not subscribe to it.")
    signed = {name: _sign_channel(request, app, socket_id, name) for name in granted}
    return {"channels": signed} if len(names) > 1 else signed[names[0]]


def _granted(request: HttpRequest, names: Iterable[str]) -> list[str]:
    """Return the channels of topics that the visitor may follow; at most one query."""
    topics = {name: topic_of(name, conf.settings().pusher_channels) for name in names}
    granted = set(followable(request, [topic for topic in topics.values() if topic is not None]))
    return [name for name, topic in topics.items() if topic in granted]


def _sign_channel(request: HttpRequest, app: PusherApp, socket_id: str, channel: str) -> dict[str, str]:
    channel_data = _channel_data(request, app) if is_presence(channel) else None
    answer = {"auth": auth_token(app.key, app.secret, subscription_text(socket_id, channel, channel_data))}
    if channel_data is not None:
        answer["channel_data"] = channel_data
    if is_encrypted(channel):
        answer["shared_secret"] = shared_secret(channel, read_master_key(conf.settings().pusher_master_key or ""))
    return answer


@_signing
def user_auth(request: HttpRequest, app: PusherApp, socket_id: str) -> dict[str, str]:
    """Sign the visitor in on their connection. Form field: `socket_id`."""
    data = user_data(request, app, _signed_in_user(request))
    return {"auth": auth_token(app.key, app.secret, sign_in_text(socket_id, data)), "user_data": data}


@login_not_required
@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponseBase:
    """Receive a webhook of the service: signals of `telltale.pusher.signals` are sent. The signature authorizes it."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > webhooks.MAX_BYTES or len(request.body) > webhooks.MAX_BYTES:
        return json_error(413, f"A webhook has at most {webhooks.MAX_BYTES:,} bytes.")
    key, signature = request.headers.get("X-Pusher-Key"), request.headers.get("X-Pusher-Signature")
    try:
        webhooks.receive(key, signature, request.body, now=time.time())
    except WebhookRefused as refusal:
        return json_error(refusal.status, str(refusal))
    return HttpResponse("{}", content_type="application/json")


# Shared by the views


def _identify(request: HttpRequest) -> None:
    """Make the asker `request.user`, for the site's hooks; refuse the page of another site."""
    asker = find_asker(request)
    if asker.user is not None:
        request.user = asker.user
    origin, is_secure = request.headers.get("Origin", ""), request.is_secure()
    live_request = LiveRequest(host=request.get_host(), origin=origin, is_secure=is_secure)
    if not is_trusted_origin(live_request, is_any_enough=not asker.is_from_cookie):
        raise _Refused("This page is of another site: add its origin to TELLTALE['ALLOWED_ORIGINS'].")


def _socket_id(request: HttpRequest) -> str:
    socket_id = request.POST.get("socket_id")
    if socket_id is None or not is_socket_id(socket_id):
        raise _Refused("Send the field socket_id, such as 123.456, in a form.", status=400)
    return socket_id


def _channel_data(request: HttpRequest, app: PusherApp) -> str:
    return member_data(request, app, _signed_in_user(request))


def _signed_in_user(request: HttpRequest) -> Any:
    if not _is_signed_in(request):
        raise _Refused("Sign in first: members are shown to other users.")
    return request.user


def _is_signed_in(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return user is not None and user.is_authenticated
