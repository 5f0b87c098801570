"""The live address for pages of other origins: preflights, responses, refusals and sockets, on every kind of server."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from telltale.live import tickets
from tests.transports.sites import CLASSES, ThreadSite, in_a_thread

pytestmark = pytest.mark.service

APP = "https://app.example.com"
STREAM, POLL = {"Accept": "text/event-stream"}, {"Accept": "application/json"}


@pytest.fixture(params=[*CLASSES])
def site(request: pytest.FixtureRequest, transactional_db: None, settings: Any) -> Iterator[ThreadSite]:
    settings.TELLTALE = settings.TELLTALE | {"ALLOWED_ORIGINS": [APP], "LONG_POLL_S": 0.1}
    with in_a_thread(request.param) as site:
        yield site


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {tickets.issue(['project:7'])}"}


def test_a_preflight_is_answered(site: ThreadSite) -> None:
    asked = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = httpx.options(site.live, headers=asked)
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (204, APP)
    assert "authorization" in allowed.headers["Access-Control-Allow-Headers"].lower()
    foreign = httpx.options(site.live, headers=asked | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in foreign.headers


@pytest.mark.parametrize("accept", [STREAM, POLL], ids=["stream", "poll"])
@pytest.mark.parametrize("has_ticket", [True, False])
def test_s05_answers_and_refusals_can_be_read_by_pages_of_allowed_origins_only(
    site: ThreadSite, accept: dict[str, str], has_ticket: bool
) -> None:
    for origin, expected in ((APP, APP), ("https://evil.example", None)):
        headers = accept | {"Origin": origin} | (bearer() if has_ticket else {})
        with httpx.stream("POST", site.live, headers=headers) as response:
            assert response.status_code == (200 if has_ticket else 401)
            assert response.headers.get("Access-Control-Allow-Origin") == expected
            assert "Origin" in response.headers["Vary"]


def test_s04_without_the_setting_nothing_is_said_about_origins(site: ThreadSite, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"ALLOWED_ORIGINS": []}
    for accept in (STREAM, POLL):
        with httpx.stream("POST", site.live, headers=accept | bearer() | {"Origin": APP}) as response:
            assert "Access-Control-Allow-Origin" not in response.headers
    assert httpx.options(site.live, headers={"Origin": APP}).status_code == 405


def test_a_socket_is_opened_for_pages_of_allowed_origins_only(site: ThreadSite, settings: Any) -> None:
    with site.socket(origin=APP):
        pass
    with pytest.raises(InvalidStatus, match="403"), site.socket(origin="https://evil.example"):
        pass
    settings.TELLTALE = settings.TELLTALE | {"ALLOWED_ORIGINS": ["*"]}
    with site.socket(origin="https://evil.example"):
        pass
