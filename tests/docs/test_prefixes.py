"""docs/prefixes.md: a site below a prefix and in several languages, behind nginx, seen live in a real browser."""

import re
from typing import Final

import pytest
from playwright.sync_api import Page

from tests.accounts.bar import JSON, assert_bar_moves
from tests.accounts.deployment import Deploy, Deployment, OpenPage, deploy, open_page
from tests.browser.conftest import browser
from tests.servers import ROOT

__all__ = ["browser", "deploy", "open_page"]

pytestmark = pytest.mark.service

PAGE = (ROOT / "docs" / "prefixes.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (settings\.py|urls\.py)\n(.*?)^```", PAGE, re.S | re.M))
BEFORE_THE_SITE, TO_THE_LIVE_SERVER = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.S | re.M)
LANGUAGES: Final = {"en": "", "de": "de/", "ar": "ar/"}
"""The languages of the site, each with its path."""

SETTINGS = f"""
ROOT_URLCONF = "site_urls"
LANGUAGE_CODE = "en"
LANGUAGES = [(code, code) for code in {list(LANGUAGES)}]
at = MIDDLEWARE.index("django.middleware.common.CommonMiddleware")
MIDDLEWARE.insert(at, "django.middleware.locale.LocaleMiddleware")
TELLTALE = {{"BROKER": "local://"}}
"""
URLS = "from tests.accounts.urls import urlpatterns as own\n" + BLOCKS["urls.py"].replace("    ...,\n", "    *own,\n")


def nginx(deployment: Deployment, site: str, *, live: str = "", keeps_prefix: bool = False) -> str:
    """Start nginx as documented, before the site, and before the live server at `live`; return its URL."""
    block = BEFORE_THE_SITE.replace("%", "%%").rstrip().removesuffix("}")
    block += TO_THE_LIVE_SERVER.replace("%", "%%") if live else ""
    block += "    location = /favicon.ico { return 204; }\n}\n"
    for documented, actual in {
        "listen 80;": "listen 127.0.0.1:%(port)d;",
        "/srv/mysite/static": "%(files)s",
        "http://127.0.0.1:8000/;": f"{site};" if keeps_prefix else f"{site}/;",
        **({"http://127.0.0.1:8001;": f"{live};"} if live else {}),
    }.items():
        assert block.count(documented) == 1
        block = block.replace(documented, actual)
    return deployment.nginx(block)


def waiting_notices(page: Page) -> list[dict[str, str]]:
    """The notices about ends that workers have stored, as the live address gives them to the page."""
    data = page.evaluate("JSON.parse(document.getElementById('telltale-page').text)")
    answer = page.request.get(data["urls"]["live"], headers={**JSON, "Authorization": f"Bearer {data['ticket']}"})
    notices: list[dict[str, str]] = answer.json()["notices"]
    return notices


@pytest.mark.parametrize(
    ("lines", "server", "keeps_prefix"),
    [
        (BLOCKS["settings.py"], "asgi", False),
        (BLOCKS["settings.py"], "asgi", True),
        ("", "asgi with a root path", False),
    ],
    ids=["FORCE_SCRIPT_NAME", "FORCE_SCRIPT_NAME, and the proxy keeps the prefix", "--root-path"],
)
def test_below_a_prefix_a_bar_is_live_in_every_language(
    deploy: Deploy, open_page: OpenPage, lines: str, server: str, keeps_prefix: bool
) -> None:
    deployment = deploy(SETTINGS + lines, {"site_urls.py": URLS})
    page = open_page(nginx(deployment, deployment.site(server=server), keeps_prefix=keeps_prefix))
    for code, path in LANGUAGES.items():
        assert_bar_moves(page, f"/app/{path}")
        urls = page.evaluate("JSON.parse(document.getElementById('telltale-page').text).urls")
        assert urls["live"] == f"/app/{path}progress/live/", code
    if lines:
        notices = waiting_notices(page)
        assert [notice["url"] for notice in notices] == [f"/app/progress/tasks/{n['task']}/" for n in notices]
        assert len(notices) == len(LANGUAGES)


def test_below_a_prefix_a_page_of_a_wsgi_site_is_live_in_every_language_by_the_live_server(
    deploy: Deploy, open_page: OpenPage
) -> None:
    deployment = deploy(SETTINGS + BLOCKS["settings.py"], {"site_urls.py": URLS})
    site, live = deployment.site(server="wsgi"), deployment.live_server()
    page = open_page(nginx(deployment, site, live=live))
    for path in LANGUAGES.values():
        assert_bar_moves(page, f"/app/{path}")
