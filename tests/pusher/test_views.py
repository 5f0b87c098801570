"""The views of a site that uses a Pusher service: which subscriptions and sign-ins they sign, and which webhooks they
accept.
"""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal
from django.test import Client
from pusher import Pusher

from telltale.core.topics import task_topic
from telltale.pusher import signals
from telltale.pusher.protocol.signatures import is_auth_token, sign, sign_in_text, subscription_text
from tests.factories import person, task_of

pytestmark = pytest.mark.django_db

KEY, SECRET = "278d425bdf160c739803", "7ad3773142a6692b25b8"
BROKER = f"pusher://{KEY}:{SECRET}@eu/3"
SOCKET = "1234.1234"
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
HOOKS = "tests.pusher.site_urls"


@pytest.fixture(autouse=True)
def pusher_settings(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.pusher.site_urls"
    settings.TELLTALE = {
        **settings.TELLTALE,
        "BROKER": BROKER,
        "CAN_FOLLOW": f"{HOOKS}.can_follow",
        "PUSHER_CHANNELS": {"room": "presence", "letter": "private-encrypted", "news": "public"},
        "PUSHER_MASTER_KEY": MASTER_KEY,
    }


def change(settings: Any, **changes: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, **changes}


@pytest.fixture
def ada(client: Client) -> Any:
    """A signed-in user."""
    user = person("ada")
    client.force_login(user)
    return user


def ask(client: Client, channel: str, *, socket_id: str = SOCKET, **options: Any) -> tuple[int, dict[str, Any]]:
    """Ask to subscribe, as pusher-js does; the status and the answer."""
    response = client.post("/pusher/auth", {"socket_id": socket_id, "channel_name": channel}, **options)
    return response.status_code, response.json()


def is_signed(answer: dict[str, Any], channel: str, *, key: str = KEY, secret: str = SECRET) -> bool:
    return is_auth_token(key, secret, subscription_text(SOCKET, channel, answer.get("channel_data")), answer["auth"])


# auth/


def test_a_visitor_may_subscribe_to_their_own_channel_and_their_own_tasks(client: Client, ada: Any) -> None:
    """P21, P24."""
    for channel in (f"private-user-{ada.pk}", f"private-task-{task_of(ada).pk}"):
        status, answer = ask(client, channel)
        assert (status, list(answer)) == (200, ["auth"])
        assert is_signed(answer, channel)


def ask_all(client: Client, channels: list[str], **options: Any) -> tuple[int, dict[str, Any]]:
    """Ask to subscribe to several channels, as the transport of Telltale's pages does."""
    response = client.post("/pusher/auth/", {"socket_id": SOCKET, "channel_name": channels}, **options)
    return response.status_code, response.json()


def test_several_channels_are_signed_by_one_request_and_one_query(
    client: Client, ada: Any, django_assert_max_num_queries: Any
) -> None:
    channels = [f"private-user-{ada.pk}", "presence-room-7", "private-encrypted-letter-7"]
    channels += [f"private-task-{task_of(ada).pk}" for _ in range(20)]
    with django_assert_max_num_queries(3):  # the session, the user, and the tasks
        status, answer = ask_all(client, channels)
    assert status == 200
    assert list(answer["channels"]) == channels
    for channel in channels:
        alone = ask(client, channel)[1]
        assert answer["channels"][channel] == alone
        assert is_signed(alone, channel)


def test_of_several_channels_those_that_the_visitor_may_not_follow_are_left_out(client: Client, ada: Any) -> None:
    own, foreign = f"private-user-{ada.pk}", f"private-user-{person('grace').pk}"
    foreign_task = f"private-task-{task_of(person('eve')).pk}"
    status, answer = ask_all(client, [foreign, own, foreign_task, "no-topic's-channel", own])
    assert (status, list(answer["channels"])) == (200, [own])
    assert ask_all(client, [foreign, foreign_task])[0] == 403


def test_of_several_channels_a_visitor_who_is_not_signed_in_gets_those_without_members(client: Client) -> None:
    status, answer = ask_all(client, ["presence-room-7", "private-project-7"])
    assert (status, list(answer["channels"])) == (200, ["private-project-7"])


def test_more_channels_than_a_ticket_has_topics_are_refused_and_the_error_says_so(client: Client, ada: Any) -> None:
    status, answer = ask_all(client, [f"private-x-{n}" for n in range(201)])
    assert status == 400
    assert "at most 200 fields channel_name, not 201" in answer["error"]


def test_the_signature_is_that_of_the_official_library(client: Client, ada: Any) -> None:
    """P21."""
    channel = f"private-user-{ada.pk}"
    assert ask(client, channel)[1] == Pusher("3", KEY, SECRET).authenticate(channel, SOCKET)


def test_an_anonymous_visitor_may_follow_their_sessions_tasks(client: Client) -> None:
    session = client.session
    session.create()
    client.cookies["sessionid"] = session.session_key
    from telltale.owners import session_digest

    assert ask(client, f"private-session-{session_digest(session.session_key)}")[0] == 200


def test_topics_that_the_sites_hook_allows_have_channels_for_all(client: Client) -> None:
    status, answer = ask(client, "private-project-7")
    assert status == 200
    assert is_signed(answer, "private-project-7")


@pytest.mark.parametrize(
    "channel",
    [
        "private-user-0",
        "presence-project-7",
        "private-project-8",
        "private-room-7",
        "private-telltale-pusher",
        "private-",
        "private-x",
        "#server-to-user-1",
        "private-project-7\n",
        "x" * 300,
        "",
    ],
)
def test_other_channels_are_refused(client: Client, ada: Any, channel: str) -> None:
    status, answer = ask(client, channel)
    assert status == 403
    assert "may not subscribe" in answer["error"]


def test_tasks_of_others_are_refused(client: Client, ada: Any) -> None:
    others = task_of(person("bob"))
    assert ask(client, f"private-task-{others.pk}")[0] == 403
    assert ask(client, f"private-{task_topic(others.pk).replace(':', '-').upper()}")[0] == 403


@pytest.mark.parametrize("socket_id", ["", "1", "1.2:private-user-1", "1.2\n", "x.y", "1.2.3"])
def test_a_socket_id_that_could_forge_another_signature_is_refused(client: Client, ada: Any, socket_id: str) -> None:
    status, answer = ask(client, f"private-user-{ada.pk}", socket_id=socket_id)
    assert status == 400
    assert "socket_id" in answer["error"]
    assert "auth" not in answer


def test_members_learn_the_users_id_and_name(client: Client, ada: Any) -> None:
    """P22, P26."""
    status, answer = ask(client, "presence-room-7")
    assert status == 200
    assert json.loads(answer["channel_data"]) == {"user_id": str(ada.pk), "user_info": {"name": "ada"}}
    assert is_signed(answer, "presence-room-7")


def test_a_site_says_what_members_learn(client: Client, ada: Any, settings: Any) -> None:
    change(settings, PUSHER_USER_INFO=f"{HOOKS}.user_info")
    channel_data = json.loads(ask(client, "presence-room-7")[1]["channel_data"])
    assert channel_data["user_info"] == {"name": "Ada", "colour": "blue"}


def test_a_long_name_is_shortened_and_a_hook_that_returns_too_much_is_an_error(client: Client, settings: Any) -> None:
    """P29."""
    client.force_login(person("é" * 150))
    assert ask(client, "presence-room-7")[0] == 200
    change(settings, PUSHER_USER_INFO=f"{HOOKS}.long_user_info")
    with pytest.raises(ValueError, match=r"Shorten what TELLTALE\['PUSHER_USER_INFO'\] returns"):
        ask(client, "presence-room-7")


def test_an_anonymous_visitor_is_no_member(client: Client) -> None:
    status, answer = ask(client, "presence-room-7")
    assert (status, answer["error"]) == (403, "Sign in first: members are shown to other users.")


def test_a_page_gets_the_key_of_an_encrypted_channel(client: Client) -> None:
    """P25, P78."""
    status, answer = ask(client, "private-encrypted-letter-7")
    library = Pusher("3", KEY, SECRET, encryption_master_key_base64=MASTER_KEY)
    expected = library.authenticate("private-encrypted-letter-7", SOCKET)
    assert status == 200
    assert answer == {"auth": expected["auth"], "shared_secret": expected["shared_secret"].decode()}


@pytest.mark.parametrize(("master_key", "problem"), [("not base64!", "not base64"), ("aGVsbG8=", "has 5 bytes")])
def test_a_wrong_master_key_is_an_error_that_does_not_show_it(
    client: Client, settings: Any, master_key: str, problem: str
) -> None:
    change(settings, PUSHER_MASTER_KEY=master_key)
    with pytest.raises(ImproperlyConfigured, match=problem) as raised:
        ask(client, "private-encrypted-letter-7")
    assert master_key not in str(raised.value)


def test_the_page_of_another_site_is_refused(client: Client, ada: Any) -> None:
    channel = f"private-user-{ada.pk}"
    assert ask(client, channel, headers={"Origin": "https://evil.example"})[0] == 403
    assert ask(client, channel, headers={"Origin": "null"})[0] == 403
    assert ask(client, channel, headers={"Origin": "http://testserver"})[0] == 200


def test_pages_of_trusted_origins_may_ask(client: Client, ada: Any, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
    assert ask(client, f"private-user-{ada.pk}", headers={"Origin": "https://app.example"})[0] == 200


def test_a_program_with_a_token_is_that_tokens_user(client: Client, settings: Any) -> None:
    change(settings, AUTHENTICATION=[f"{HOOKS}.bearer_user"], PUSHER_USER_INFO=f"{HOOKS}.user_info")
    ada = person("ada")
    token = {"Authorization": "Bearer ada"}
    assert ask(client, f"private-user-{ada.pk}", headers=token)[0] == 200
    members = json.loads(ask(client, "presence-room-7", headers=token)[1]["channel_data"])
    assert members == {"user_id": str(ada.pk), "user_info": {"name": "Ada", "colour": "blue"}}
    assert ask(client, f"private-user-{ada.pk}", headers={"Authorization": "Bearer bob"})[0] == 401
    assert ask(client, f"private-user-{ada.pk}")[0] == 403


def test_pages_of_an_allowed_origin_may_read_the_answer(client: Client, ada: Any, settings: Any) -> None:
    change(settings, ALLOWED_ORIGINS=["https://app.example"])
    origin = {"Origin": "https://app.example"}
    fields = {"socket_id": SOCKET, "channel_name": f"private-user-{ada.pk}"}
    response = client.post("/pusher/auth", fields, headers=origin)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    preflight = client.options("/pusher/auth", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204


def test_any_origin_may_use_a_token_and_none_a_cookie(client: Client, ada: Any, settings: Any) -> None:
    change(settings, ALLOWED_ORIGINS=["*"], AUTHENTICATION=[f"{HOOKS}.bearer_user"])
    channel, origin = f"private-user-{ada.pk}", {"Origin": "https://other.example"}
    assert ask(client, channel, headers=origin)[0] == 403
    assert ask(Client(), channel, headers={**origin, "Authorization": "Bearer ada"})[0] == 200


def test_pusher_js_needs_no_csrf_token_and_the_answer_is_for_no_cache() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada := person("ada"))
    response = client.post("/pusher/auth/", {"socket_id": SOCKET, "channel_name": f"private-user-{ada.pk}"})
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("path", ["auth", "auth/", "user-auth", "user-auth/", "webhook", "webhook/"])
def test_only_post_is_answered(client: Client, path: str) -> None:
    assert client.get(f"/pusher/{path}").status_code == 405


@pytest.mark.parametrize("path", ["auth/", "user-auth/", "webhook/"])
def test_a_login_wall_leaves_the_answers_to_the_views(client: Client, settings: Any, path: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert client.post(f"/pusher/{path}", {"socket_id": SOCKET}).headers["Content-Type"] == "application/json"


# Which app signs


APPS = [{"ID": "1", "KEY": "key-1", "SECRET": "secret-1"}, {"ID": "2", "KEY": "key-2", "SECRET": "secret-2"}]


def ask_app(client: Client, key: str | None) -> tuple[int, dict[str, Any]]:
    query = "" if key is None else f"?app_key={key}"
    response = client.post(f"/pusher/auth/{query}", {"socket_id": SOCKET, "channel_name": "private-project-7"})
    return response.status_code, response.json()


def test_the_only_app_of_the_stand_in_signs_where_the_broker_is_none(client: Client, settings: Any) -> None:
    change(settings, BROKER="memory://", PUSHER_APPS=APPS[:1])
    status, answer = ask_app(client, None)
    assert status == 200
    assert is_signed(answer, "private-project-7", key="key-1", secret="secret-1")


def test_among_several_apps_the_page_names_one(client: Client, settings: Any) -> None:
    change(settings, BROKER="memory://", PUSHER_APPS=APPS)
    assert "?app_key=KEY" in ask_app(client, None)[1]["error"]
    for number in ("1", "2"):
        status, answer = ask_app(client, f"key-{number}")
        assert status == 200
        assert is_signed(answer, "private-project-7", key=f"key-{number}", secret=f"secret-{number}")


def test_the_brokers_app_signs_unless_the_page_names_another(client: Client, settings: Any) -> None:
    change(settings, PUSHER_APPS=APPS)
    assert is_signed(ask_app(client, None)[1], "private-project-7")
    assert is_signed(ask_app(client, KEY)[1], "private-project-7")
    assert is_signed(ask_app(client, "key-2")[1], "private-project-7", key="key-2", secret="secret-2")


def test_an_unknown_or_disabled_app_is_refused(client: Client, settings: Any) -> None:
    change(settings, PUSHER_APPS=[{**APPS[0], "IS_ENABLED": False}])
    assert ask_app(client, "key-1")[0] == 403
    assert ask_app(client, "key-9")[0] == 403
    change(settings, BROKER="memory://", PUSHER_APPS=[])
    assert ask_app(client, None)[0] == 403


# user-auth/


def sign_in(client: Client) -> tuple[int, dict[str, Any]]:
    response = client.post("/pusher/user-auth", {"socket_id": SOCKET})
    return response.status_code, response.json()


def test_a_signed_in_user_is_signed_in_on_the_connection(client: Client, ada: Any) -> None:
    """P43."""
    status, answer = sign_in(client)
    assert status == 200
    assert json.loads(answer["user_data"]) == {"id": str(ada.pk), "user_info": {"name": "ada"}}
    assert is_auth_token(KEY, SECRET, sign_in_text(SOCKET, answer["user_data"]), answer["auth"])


def test_an_anonymous_visitor_is_not_signed_in(client: Client) -> None:
    status, answer = sign_in(client)
    assert status == 403
    assert "auth" not in answer


def test_a_site_chooses_the_users_that_a_user_watches(client: Client, ada: Any, settings: Any) -> None:
    """P49."""
    change(settings, PUSHER_WATCHLIST=f"{HOOKS}.watchlist")
    watched = json.loads(sign_in(client)[1]["user_data"])["watchlist"]
    assert watched[:3] == ["8", "9", "100"]
    assert len(watched) == 100


# webhook/


class Received(list[tuple[str, dict[str, Any]]]):
    """The signals that were received: their names and arguments."""

    def receiver(self, name: str) -> Any:
        def receive(sender: object, signal: Signal, **arguments: Any) -> None:
            self.append((name, arguments))
            if arguments.get("channel") == "private-fails":
                raise RuntimeError("the receiver's mistake")

        return receive


SIGNALS = {name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)}


@pytest.fixture
def received() -> Iterator[Received]:
    received = Received()
    receivers = {name: received.receiver(name) for name in SIGNALS}
    for name, signal in SIGNALS.items():
        signal.connect(receivers[name])
    yield received
    for name, signal in SIGNALS.items():
        signal.disconnect(receivers[name])


def webhook_body(*events: Any, age_s: float = 0.0) -> bytes:
    return json.dumps({"time_ms": int((time.time() - age_s) * 1_000), "events": list(events)}).encode()


def send_webhook(client: Client, body: bytes, *, key: str = KEY, signature: str | None = None) -> int:
    signed = sign(SECRET, body.decode("utf-8", "replace")) if signature is None else signature
    response = client.post(
        "/pusher/webhook/",
        body,
        content_type="application/json",
        headers={"X-Pusher-Key": key, "X-Pusher-Signature": signed},
    )
    return response.status_code


def test_every_event_of_a_webhook_is_a_signal(client: Client, received: Received) -> None:
    """P66, P67."""
    events = [
        {"name": "channel_occupied", "channel": "room"},
        {"name": "channel_vacated", "channel": "room"},
        {"name": "member_added", "channel": "presence-room-7", "user_id": "7"},
        {"name": "member_removed", "channel": "presence-room-7", "user_id": "7"},
        {
            "name": "client_event",
            "channel": "presence-room-7",
            "event": "client-typing",
            "data": "{}",
            "socket_id": SOCKET,
            "user_id": "7",
        },
        {"name": "cache_miss", "channel": "cache-price"},
        {"name": "subscription_count", "channel": "room", "subscription_count": 3},
    ]
    assert send_webhook(client, webhook_body(*events)) == 200
    member = {"app_id": "3", "channel": "presence-room-7", "user_id": "7", "user_info": None}
    assert received == [
        ("channel_occupied", {"app_id": "3", "channel": "room"}),
        ("channel_vacated", {"app_id": "3", "channel": "room"}),
        ("member_added", member),
        ("member_removed", member),
        (
            "client_event",
            {
                "app_id": "3",
                "channel": "presence-room-7",
                "event": "client-typing",
                "data": "{}",
                "socket_id": SOCKET,
                "user_id": "7",
            },
        ),
        ("cache_miss", {"app_id": "3", "channel": "cache-price"}),
        ("subscription_count", {"app_id": "3", "channel": "room", "subscription_count": 3}),
    ]


def test_a_webhook_of_the_stand_ins_app_has_its_id(client: Client, received: Received, settings: Any) -> None:
    change(settings, PUSHER_APPS=APPS)
    body = webhook_body({"name": "cache_miss", "channel": "cache-price"})
    assert send_webhook(client, body, key="key-2", signature=sign("secret-2", body.decode())) == 200
    assert received == [("cache_miss", {"app_id": "2", "channel": "cache-price"})]


OCCUPIED = {"name": "channel_occupied", "channel": "room"}


@pytest.mark.parametrize(
    ("body", "key", "signature", "status"),
    [
        (webhook_body(OCCUPIED), KEY, "", 401),
        (webhook_body(OCCUPIED), KEY, "0" * 64, 401),
        (webhook_body(OCCUPIED), KEY, sign(SECRET, webhook_body().decode()), 401),
        (webhook_body(OCCUPIED), "key-9", None, 401),
        (webhook_body(OCCUPIED), "", None, 401),
        (b"\xff" + webhook_body(OCCUPIED), KEY, None, 401),
        (b"{", KEY, None, 400),
        (b"[]", KEY, None, 400),
        (b'{"time_ms": "soon", "events": []}', KEY, None, 400),
        (b'{"time_ms": NaN, "events": []}', KEY, None, 401),
        (b'{"events": []}', KEY, None, 400),
        (b"[" * 100_000, KEY, None, 400),
        (b"x" * 1_048_577, KEY, None, 413),
    ],
    ids=[
        "no signature",
        "zeros",
        "signature of another body",
        "another key",
        "no key",
        "an altered body",
        "half of a body",
        "no object",
        "no time",
        "not a time",
        "no time, signed",
        "nested",
        "large",
    ],
)
def test_a_webhook_that_is_forged_altered_or_malformed_sends_no_signal(
    client: Client, received: Received, body: bytes, key: str, signature: str | None, status: int
) -> None:
    """P66."""
    assert send_webhook(client, body, key=key, signature=signature) == status
    assert received == []


@pytest.mark.parametrize("age_s", [301, -301])
def test_a_webhook_that_is_more_than_300_seconds_away_is_refused(
    client: Client, received: Received, age_s: float
) -> None:
    """P66."""
    assert send_webhook(client, webhook_body(OCCUPIED, age_s=age_s)) == 401
    assert received == []
    assert send_webhook(client, webhook_body(OCCUPIED, age_s=age_s * 0.9)) == 200
    assert len(received) == 1


def test_unknown_and_malformed_events_are_skipped_and_logged(
    client: Client, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    body = webhook_body({"name": "new_kind", "channel": "x"}, 7, {"name": "channel_vacated"}, OCCUPIED)
    assert send_webhook(client, body) == 200
    assert [name for name, _arguments in received] == ["channel_occupied"]
    assert caplog.text.count("was skipped") == 3


def test_a_receivers_exception_is_logged_and_the_next_signal_is_sent(
    client: Client, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    fails = {"name": "channel_vacated", "channel": "private-fails"}
    assert send_webhook(client, webhook_body(fails, OCCUPIED)) == 200
    assert [name for name, _arguments in received] == ["channel_vacated", "channel_occupied"]
    assert "the receiver's mistake" in caplog.text
