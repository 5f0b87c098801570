"""Every wait of the server's coroutines for the network has an end.

The table lists all, by the function that waits; one that is added must be entered, with its limit.
`tests/js/waits.test.js` does the same for the browser.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import telltale

SOURCE = Path(telltale.__file__).parent

NETWORK = {
    *("receive", "_receive", "send", "_send", "listen", "read_body", "wait_for_disconnect", "wait_for"),
    *("new_channel", "group_add", "group_discard", "group_send", "wait_received", "bzpopmin", "zadd", "expire"),
    *("open_connection", "open_unix_connection", "drain", "readline", "readexactly", "sock_recv", "sock_sendall"),
}
"""Names of functions that wait for another machine."""

FIRST_EVENT = "none needed: the server has this event already"
RESPONSE = (
    "the server's: a small response waits only for a client that has not read the one before, on its own line; such a "
    "client counts against CONNECTIONS_PER_ADDRESS"
)
BODY = "BODY_S, 9 s: then 408"
STAYS = "the client's stay: pings and acknowledgements, and the end of the ticket (ConnectionPolicy)"
BLOCKED = "slow_s (ConnectionPolicy) or BLOCKED_S, 10 s: then the line is cut; LINGER_S, 5 s, for the last messages"
STOPS = "none: it waits for work, or for the end of the process"
PASSED_ON = "those of the application and the server, between which it passes the call on"
LAYER = "LAYER_TIMEOUT_S or LAYER_S, 3 s: then the layer counts as failed"
REDIS = "`timeout` of the command, and `socket_timeout` of the layer's hosts (docs/channels.md)"

WAITS = {
    "channels/broker/sender.py LayerSender._run _send": LAYER,
    "channels/broker/sender.py LayerSender._send group_send": LAYER,
    "channels/broker/subscription.py LayerSubscription._receive receive": "SILENCE_S, then ANSWER_TIMEOUT_S (`_watch`)",
    "channels/broker/subscription.py Membership._change_to group_add": LAYER,
    "channels/broker/subscription.py Membership._change_to group_discard": LAYER,
    "channels/broker/subscription.py Membership.join new_channel": LAYER,
    "channels/broker/subscription.py Membership.leave wait_received": LAYER,
    "channels/mounting.py _refuse receive": FIRST_EVENT,
    "channels/mounting.py _refuse send": RESPONSE,
    "channels/relaying.py GroupListener._listen group_add": LAYER,
    "channels/relaying.py GroupListener._send_last send": LAYER,
    "channels/relaying.py GroupListener.run group_discard": LAYER,
    "channels/relaying.py GroupListener.run new_channel": LAYER,
    "channels/runner/backlog.py Backlog._read _receive": STOPS,
    "channels/runner/consumers.py TaskConsumer._handle_all receive": STOPS,
    "channels/worker/redis_queue.py RedisQueue.give_back expire": REDIS,
    "channels/worker/redis_queue.py RedisQueue.give_back zadd": REDIS,
    "channels/worker/redis_queue.py RedisQueue.take bzpopmin": REDIS,
    "live/application.py LiveApplication.__call__ receive": FIRST_EVENT,
    "live/application.py LiveApplication.__call__ send": RESPONSE,
    "live/application.py LiveApplication._run_lifespan receive": STOPS,
    "live/application.py LiveApplication._run_lifespan send": STOPS,
    "live/application.py LiveApplication._run_lifespan.receive_closing receive": STOPS,
    "live/application.py _answer_preflight send": RESPONSE,
    "live/application.py _run_transport receive": FIRST_EVENT,
    "live/application.py _run_transport send": RESPONSE,
    "live/application.py _with_headers.send_with_headers send": PASSED_ON,
    "live/refresher.py Refresher._reread wait_for": "the interval of the regular reads, at most 15 s",
    "pusher/server/api/body.py RequestBody._next _receive": "BODY_S, 10 s: then 408",
    "pusher/server/api/http_api.py _respond send": RESPONSE,
    "pusher/server/application.py PusherApplication._run_lifespan.receive_events receive": STOPS,
    "pusher/server/fallback/fallback.py Fallback.send_elsewhere send": "ANSWER_S of a relay, in `relay.py`",
    "pusher/server/fallback/http_transports.py _respond send": RESPONSE,
    "pusher/server/fallback/http_transports.py _stream send": BLOCKED,
    "pusher/server/standalone.py _run_lifespan receive": STOPS,
    "pusher/server/standalone.py _run_lifespan send": STOPS,
    "pusher/server/websocket.py refuse receive": FIRST_EVENT,
    "pusher/server/websocket.py refuse send": RESPONSE,
    "pusher/server/websocket.py serve_websocket listen": "the client's stay: pings, and PONG_S, 30 s, for answers",
    "pusher/server/websocket.py serve_websocket receive": FIRST_EVENT,
    "pusher/server/websocket.py serve_websocket send": RESPONSE,
    "transports/asgi.py AsgiLine._finish _send": BLOCKED,
    "transports/asgi.py AsgiLine.listen receive": STAYS,
    "transports/base.py admit_or_refuse read_body": BODY,
    "transports/http.py read_body receive": BODY,
    "transports/http.py send_response send": RESPONSE,
    "transports/http.py wait_for_disconnect receive": "that of the response beside which it waits",
    "transports/polling.py PollOutlet.wait wait_for": "`wait_s`, at most LONG_POLL_S; admit_s until the first read",
    "transports/sse.py sse listen": STAYS,
    "transports/sse.py sse send": RESPONSE,
    "transports/websocket.py websocket listen": STAYS,
    "transports/websocket.py websocket receive": FIRST_EVENT,
    "transports/websocket.py websocket send": RESPONSE,
}


def awaited(path: Path) -> Iterator[str]:
    """Yield the place and the name of each awaited call of a function in `NETWORK`."""

    def visit(node: ast.AST, scope: tuple[str, ...]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            is_scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            inner = (*scope, child.name) if is_scope else scope  # type: ignore[attr-defined]
            if isinstance(child, ast.Await) and isinstance(child.value, ast.Call):
                name = ast.unparse(child.value.func).rpartition(".")[2]
                if name in NETWORK:
                    yield f"{path.relative_to(SOURCE)} {'.'.join(scope)} {name}"
            yield from visit(child, inner)

    yield from visit(ast.parse(path.read_text()), ())


def all_waits() -> set[str]:
    return {wait for path in SOURCE.rglob("*.py") if "testing" not in path.parts for wait in awaited(path)}


def test_the_table_lists_every_wait_for_the_network_with_its_limit() -> None:
    assert sorted(all_waits() - WAITS.keys()) == []
    assert sorted(WAITS.keys() - all_waits()) == []
    assert all(WAITS.values())
