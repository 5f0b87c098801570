"""Requests whose body never comes: they are refused, and hold no line."""

import json
from dataclasses import replace

import pytest

from telltale.core.policy import ConnectionPolicy
from telltale.core.reasons import SILENT
from telltale.server import http_protocol
from telltale.transports import http
from tests.transports.raw import Line
from tests.transports.sites import CLASSES, in_a_thread

pytestmark = pytest.mark.service

POST = ("Content-Type: application/json", "Content-Length: 100")


@pytest.mark.parametrize("begun", [b"", b"{"], ids=["nothing", "a part"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"], ids=["poll", "stream"])
@pytest.mark.parametrize("kind", list(CLASSES))
def test_s40_a_request_whose_body_never_comes_is_refused_and_its_line_is_closed(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, kind: str, accept: str, begun: bytes
) -> None:
    monkeypatch.setattr(http, "BODY_S", 0.5)
    monkeypatch.setattr(http_protocol, "POLICY", replace(http_protocol.POLICY, admit_s=0.5))
    with in_a_thread(kind) as site, Line(site) as line:
        response = line.request(f"Accept: {accept}", *POST, verb="POST", body=begun).read_to_end()
        if kind == "live" and accept == "text/event-stream":
            assert response == b""  # The protocol has no application that could answer, and cuts the line.
            return
    head, _, body = response.partition(b"\r\n\r\n")
    bye = json.loads(body)
    assert head.split()[1] == b"408"
    assert (bye["code"], bye["again"]) == (SILENT.code, "later")


def test_a_client_that_is_slow_with_its_body_does_not_count_as_one_without_a_ticket() -> None:
    assert ConnectionPolicy().admit_s > http.BODY_S
