"""Requests to the HTTP API are authenticated by their signature, their time and the digest of their body."""

import hashlib
import hmac
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pusher import Pusher

from telltale.pusher.protocol.api_auth import SignedRequest, authenticate, check_body, claimed_key
from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.pusher.pusher_apps import PusherApp

APP = PusherApp(id="3", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
OTHER = PusherApp(id="4", key="other-key", secret="other-secret")
NOW = 1_353_088_179.0
BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'


def signed(
    method: str = "POST",
    path: str = "/apps/3/events",
    body: bytes = b"",
    *,
    app: PusherApp = APP,
    without: str = "",
    **more: str,
) -> dict[str, str]:
    """Return the query of a request, signed by a few lines that are not the server's."""
    query = {"auth_key": app.key, "auth_timestamp": f"{NOW:.0f}", "auth_version": "1.0", **more}
    if body:
        query["body_md5"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
    query.pop(without, None)
    pairs = sorted((name.lower(), value) for name, value in query.items())
    text = "\n".join([method, path, "&".join(f"{name}={value}" for name, value in pairs)])
    return {**query, "auth_signature": hmac.new(app.secret.encode(), text.encode(), hashlib.sha256).hexdigest()}


def encoded(query: dict[str, str]) -> bytes:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()).encode()


def check(query: bytes | dict[str, str], *, method: str = "POST", paths: Any = ("/apps/3/events",), **more: Any) -> Any:
    raw = encoded(query) if isinstance(query, dict) else query
    request = SignedRequest(method=method, paths=tuple(paths), query=raw)
    return authenticate(more.get("app", APP), request, now=more.get("now", NOW))


def refusal_of(query: bytes | dict[str, str], **more: Any) -> ApiRefusal:
    with pytest.raises(ApiRefusal) as caught:
        check(query, **more)
    for secret in (APP.secret, OTHER.secret):
        assert secret not in caught.value.text
    return caught.value


def test_the_example_of_the_documentation_is_accepted() -> None:
    """P50."""
    query = signed(body=BODY)
    assert query["body_md5"] == "ec365a775a4cd0599faeb73354201b6f"
    assert query["auth_signature"].startswith("da454824c97ba181")
    parameters = check(query)
    assert parameters["auth_key"] == APP.key
    check_body(parameters, BODY)


@pytest.mark.parametrize("missing", ["auth_key", "auth_timestamp", "auth_version", "auth_signature"])
def test_each_missing_parameter_is_named(missing: str) -> None:
    """P52."""
    query = signed(without=missing)
    query.pop(missing, None)
    refusal = refusal_of(query)
    assert (refusal.status, missing in refusal.text) == (401, True)


def test_a_request_without_any_query_is_refused() -> None:
    """P52."""
    assert refusal_of(b"").status == 401


@pytest.mark.parametrize("skew_s", [-600, -1, 0, 1, 600])
def test_clocks_may_differ_by_ten_minutes(skew_s: int) -> None:
    """P50."""
    assert check(signed(), now=NOW + skew_s)


@pytest.mark.parametrize(("skew_s", "direction"), [(601, "behind"), (-601, "ahead of")])
def test_older_and_later_timestamps_are_refused_with_the_difference(skew_s: int, direction: str) -> None:
    """P52."""
    refusal = refusal_of(signed(), now=NOW + skew_s)
    assert refusal.status == 401
    assert f"auth_timestamp is 601 s {direction} this server's clock" in refusal.text


@pytest.mark.parametrize("timestamp", ["now", "-1", "1e9", "1353088179.0", " 1353088179", "٣", "9" * 400, "inf", "nan"])
def test_timestamps_are_whole_seconds(timestamp: str) -> None:
    """P52."""
    refusal = refusal_of(signed(auth_timestamp=timestamp))
    assert refusal.status == 401
    assert "whole seconds since 1970" in refusal.text


def test_another_version_is_refused() -> None:
    """P52."""
    assert "it must be 1.0" in refusal_of(signed(auth_version="1.1")).text


def test_the_key_of_another_app_is_refused_as_an_unknown_one_is() -> None:
    """P52: the text is the same, so it tells nothing about other apps."""
    of_other = refusal_of({**signed(app=OTHER), "auth_key": OTHER.key})
    unknown = refusal_of(signed(auth_key="unknown"))
    assert of_other.text == unknown.text == "auth_key is not the key of the app 3."
    assert of_other.status == unknown.status == 401


def test_the_secret_of_another_app_signs_nothing() -> None:
    """P52."""
    stranger = PusherApp(id=APP.id, key=APP.key, secret=OTHER.secret)
    assert refusal_of(signed(app=stranger)).status == 401


@pytest.mark.parametrize("signature", ["0" * 64, "x", "é", "0" * 10_000])
def test_the_right_signature_is_never_told(signature: str) -> None:
    """P52: the text that was signed helps the developer, and holds only what the client sent."""
    query = signed()
    refusal = refusal_of({**query, "auth_signature": signature})
    assert query["auth_signature"] not in refusal.text
    assert "POST\\n/apps/3/events\\nauth_key=" in refusal.text


@pytest.mark.parametrize(
    "change",
    [{"method": "GET"}, {"paths": ["/apps/3/batch_events"]}, {"paths": ["/apps/3/event"]}],
)
def test_method_and_path_are_part_of_what_is_signed(change: dict[str, Any]) -> None:
    """P50."""
    assert refusal_of(signed(), **change).status == 401


def test_a_changed_added_or_removed_parameter_is_noticed() -> None:
    """P50."""
    query = signed("GET", "/apps/3/channels", filter_by_prefix="a")
    where = {"method": "GET", "paths": ["/apps/3/channels"]}
    assert check(query, **where)["filter_by_prefix"] == "a"
    for changed in (
        {**query, "filter_by_prefix": "b"},
        {**query, "info": "user_count"},
        {name: value for name, value in query.items() if name != "filter_by_prefix"},
    ):
        assert refusal_of(changed, **where).status == 401


def test_the_path_may_be_signed_with_or_without_a_prefix() -> None:
    """P50."""
    paths = ["/apps/3/events", "/pusher/apps/3/events"]
    for path in paths:
        assert check(signed(path=path), paths=paths)
    assert refusal_of(signed(path="/other/apps/3/events"), paths=paths).status == 401


def test_names_are_lower_cased_and_sorted() -> None:
    """P50."""
    assert check(signed(Zeta="1", alpha="2", BETA="3"))["beta"] == "3"


def test_a_query_with_raw_values_is_accepted() -> None:
    """P51: as one library sends it."""
    query = signed(info="user_count,subscription_count", x="a=b")
    assert check("&".join(f"{name}={value}" for name, value in query.items()).encode())["x"] == "a=b"


def test_a_space_may_be_sent_as_a_plus() -> None:
    """P51."""
    query = signed(info="user_count, subscription_count")
    assert check(encoded(query).replace(b"%20", b"+"))["info"] == "user_count, subscription_count"
    assert check(encoded(signed(x="a+b")).replace(b"%2B", b"+"))["x"] == "a+b"


def test_values_are_decoded_once() -> None:
    """P51."""
    assert check(signed(x="%2541"))["x"] == "%2541"
    assert refusal_of(encoded(signed(x="%41")).replace(b"%2541", b"%41")).status == 401


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=20), max_size=4))
def test_whatever_the_values_they_are_signed_as_they_are(values: dict[str, str]) -> None:
    """P50, P51."""
    values = {name: value.encode("utf-8", "replace").decode() for name, value in values.items()}
    parameters = check(signed(**values))
    assert {name: parameters[name] for name in values} == values


@pytest.mark.parametrize("name", ["auth_key", "auth_timestamp", "auth_version", "body_md5", "auth_signature", "info"])
def test_a_parameter_that_is_given_twice_is_refused(name: str) -> None:
    """P50: one value would be checked, and the other used."""
    query = signed(body=BODY, info="user_count")
    refusal = refusal_of(encoded(query) + f"&{name.upper()}={query[name]}".encode())
    assert refusal.status == 400
    assert f'"{name}" twice' in refusal.text


def test_arrays_are_refused_with_the_form_that_works() -> None:
    """P50."""
    refusal = refusal_of(encoded(signed(**{"info[]": "user_count"})))
    assert (refusal.status, "join its values by commas" in refusal.text) == (400, True)


@pytest.mark.parametrize("query", [b"a=%ff", b"a=\xff", b"%ff=1"])
def test_a_query_that_is_not_utf8_is_refused(query: bytes) -> None:
    """P50."""
    assert refusal_of(query).status == 400


def test_the_number_of_parameters_is_bounded() -> None:
    """P50."""
    assert refusal_of(b"&".join(b"a%d=1" % number for number in range(1_000))).status == 400
    assert refusal_of(b"&" * 1_000).status == 400


def test_parameters_cannot_be_hidden_in_the_value_of_another() -> None:
    """P50: values are signed unescaped, so `a=1&b=2` and a value `1&b=2` have the same text."""
    query = signed(body=BODY)
    for first, second in (("auth_timestamp", "auth_version"), ("auth_version", "body_md5")):
        hidden = {**query, first: f"{query[first]}&{second}={query[second]}"}
        del hidden[second]
        assert refusal_of(hidden).status == 401


def test_the_digest_of_the_body_is_checked() -> None:
    """P52."""
    parameters = check(signed(body=BODY))
    with pytest.raises(ApiRefusal, match="not the MD5 of the body that arrived") as caught:
        check_body(parameters, BODY + b" ")
    assert caught.value.status == 401


def test_a_body_needs_a_digest() -> None:
    """P50, P52."""
    parameters = check(signed())
    with pytest.raises(ApiRefusal, match="body_md5 is missing") as caught:
        check_body(parameters, BODY)
    assert caught.value.status == 401
    check_body(parameters, b"")


@pytest.mark.parametrize("md5", ["", "é", "0" * 32])
def test_a_wrong_digest_is_refused_although_it_is_signed(md5: str) -> None:
    """P52."""
    with pytest.raises(ApiRefusal):
        check_body(check(signed(body_md5=md5)), BODY)


def test_a_get_may_carry_the_digest_of_nothing() -> None:
    """P51."""
    query = signed("GET", "/apps/3/channels", body_md5="d41d8cd98f00b204e9800998ecf8427e")
    check_body(check(query, method="GET", paths=["/apps/3/channels"]), b"")


def test_the_key_names_the_app_where_the_path_does_not() -> None:
    """P48."""
    request = SignedRequest(method="POST", paths=("/users/7/terminate_connections",), query=encoded(signed()))
    assert claimed_key(request) == APP.key
    with pytest.raises(ApiRefusal, match="auth_key is missing") as caught:
        claimed_key(SignedRequest(method="POST", paths=("/",), query=b"auth_version=1.0"))
    assert caught.value.status == 401


def test_requests_of_the_python_library_are_accepted() -> None:
    """P50, P51, P77."""
    library = Pusher(APP.id, APP.key, APP.secret, host="localhost", ssl=False)._pusher_client
    for request in (
        library.trigger.make_request(["a", "b"], "event", {"some": "data"}),
        library.channels_info.make_request("presence-", ["user_count"]),
        library.channel_info.make_request("presence-a@b;c,d.e=f", ["user_count"]),
        library.terminate_user_connections.make_request("user=7@b,c"),
    ):
        signed_at = float(request.query_params["auth_timestamp"])
        query = request.query_string.encode()
        parameters = check(query, method=request.method, paths=[request.path], now=signed_at)
        check_body(parameters, request.body)
