"""docs/static-files.md: every storage of static files, each seen moving a bar in a real browser."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from playwright.sync_api import Browser, Page, expect

from tests.accounts.bar import assert_bar_moves
from tests.accounts.site import AccountsSite, environment
from tests.browser.conftest import browser, opening_contexts
from tests.servers import ROOT, Nginx, running

__all__ = ["browser"]

pytestmark = pytest.mark.service

PAGE = (ROOT / "docs" / "static-files.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (settings\.py: .*?|views\.py)\n(.*?)^```", PAGE, re.S | re.M))
[NGINX] = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.S | re.M)
[TEMPLATE] = re.findall(r"^```django\n\{# chart.html #\}\n(.*?)^```", PAGE, re.S | re.M)
CORS: Final = '    add_header Access-Control-Allow-Origin "*";\n'


class AggregatingStorage(ManifestStaticFilesStorage):
    """Also puts hashed names into modules' own import statements."""

    support_js_module_import_aggregation = True


MIME: Final = "include /etc/nginx/mime.types;\n"
BEFORE_THE_SITE = """
server {
    listen 127.0.0.1:%(port)d;
    location /static/ { alias %(files)s/; }
    location / {
        proxy_pass %(site)s;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Host $http_host;
    }
}
"""
SETTINGS = """
from tests.accounts.settings import *
DEBUG = False
STATIC_ROOT = DIRECTORY / "static"
"""


class Deployment:
    """A directory with the collected static files of a site, and the servers that a test starts there."""

    def __init__(self, directory: Path, lines: str) -> None:
        """`lines`: of the site's settings."""
        self.directory = directory
        self._stack = ExitStack()
        (directory / "site_settings.py").write_text(SETTINGS + lines)
        self.manage("collectstatic", "--noinput", "-v0")

    def site(self, **settings: str) -> str:
        """Start the site; return its URL."""
        site = AccountsSite(self.directory, **settings)
        self._stack.callback(site.stop)
        return site.url

    def nginx(self, block: str, **names: str) -> str:
        """Start nginx with this server block, in which %(port)d and the like are replaced; return its URL."""
        known = {"files": f"{self.directory}/static", **names}
        nginx = Nginx(self.directory, lambda port: MIME + block % {**known, "port": port})
        self._stack.callback(nginx.stop)
        return nginx.url

    def manage(self, *command: str, **settings: str) -> str:
        """Run a command of the site's; return what it printed."""
        env = {**os.environ, **environment(self.directory, **settings)}
        words = [sys.executable, "-m", "django", *command]
        finished = subprocess.run(words, env=env, cwd=ROOT, check=True, capture_output=True, text=True)
        return finished.stdout + finished.stderr

    def stop(self) -> None:
        """End the servers."""
        self._stack.close()


@pytest.fixture
def deploy() -> Iterator[Callable[[str], Deployment]]:
    with ExitStack() as stack:
        yield lambda lines: stack.enter_context(running(partial(Deployment, lines=lines)))


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page of a site. An error or a warning in its console fails the test, unless it is `expected`."""
    with ExitStack() as stack:

        def open_one(url: str, *expected: str) -> Page:
            open_context = stack.enter_context(contextmanager(opening_contexts)(browser, url, expected))
            return open_context().new_page()

        yield open_one


def requests_of(page: Page) -> list[str]:
    """The URLs of the page's requests for scripts and style sheets, as they come."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url) if re.search(r"\.(js|css)$", request.url) else None)
    return urls


@pytest.mark.parametrize(
    "storage",
    [
        "django.contrib.staticfiles.storage.StaticFilesStorage",
        "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        f"{__name__}.AggregatingStorage",
    ],
)
def test_with_each_storage_of_django_a_bar_moves_and_nothing_is_set(
    deploy: Callable[[str], Deployment], open_page: Callable[..., Page], storage: str
) -> None:
    deployment = deploy(f'STORAGES = {{"staticfiles": {{"BACKEND": "{storage}"}}}}')
    page = open_page(deployment.nginx(BEFORE_THE_SITE, site=deployment.site()))
    urls = requests_of(page)
    assert_bar_moves(page)
    is_hashed = {bool(re.search(r"\.[0-9a-f]{12}\.(js|css)$", url)) for url in urls}
    assert is_hashed == {not storage.endswith(".StaticFilesStorage")}
    # Each module is fetched once, so hashed names and others are not mixed.
    assert len(urls) == len(set(urls)) > 20


def test_with_whitenoise_and_its_documented_lines_a_bar_moves(
    deploy: Callable[[str], Deployment], open_page: Callable[..., Page]
) -> None:
    deployment = deploy(BLOCKS["settings.py: WhiteNoise"].replace("    ...,\n", "    *MIDDLEWARE,\n"))
    page = open_page(deployment.site())
    urls = requests_of(page)
    assert_bar_moves(page)
    assert all(re.search(r"\.[0-9a-f]{12}\.(js|css)$", url) for url in urls)


def documented_block() -> str:
    """The server block of nginx for static files, for tests."""
    block = NGINX.replace("%", "%%")
    for documented, actual in {
        "listen 443 ssl": "listen 127.0.0.1:%(port)d",
        "/srv/mysite/static": "%(files)s",
    }.items():
        assert block.count(documented) == 1
        block = block.replace(documented, actual)
    return block


def test_with_static_files_of_another_origin_and_its_documented_header_a_bar_moves(
    deploy: Callable[[str], Deployment], open_page: Callable[..., Page]
) -> None:
    deployment = deploy("")
    static = deployment.nginx(documented_block())
    page = open_page(deployment.site(STATIC_URL=f"{static}/"))
    urls = requests_of(page)
    assert_bar_moves(page)
    assert all(url.startswith(static) for url in urls)


def test_without_the_header_the_browser_names_it_and_the_check_for_deployments_does_too(
    deploy: Callable[[str], Deployment], open_page: Callable[..., Page]
) -> None:
    assert NGINX.count(CORS) == 1
    deployment = deploy("")
    static = deployment.nginx(documented_block().replace(CORS, ""))
    page = open_page(deployment.site(STATIC_URL=f"{static}/"), "blocked by CORS policy", "net::ERR_FAILED")
    with page.expect_console_message(lambda line: "Access-Control-Allow-Origin" in line.text):
        page.goto("/")
    checked = deployment.manage("check", "--deploy", STATIC_URL=f"{static}/")
    assert f"(telltale.I001) STATIC_URL names the origin {static}." in checked
    assert "telltale.I001" not in deployment.manage("check", "--deploy")
    assert "telltale.I001" not in deployment.manage("check", STATIC_URL=f"{static}/")


# Import maps ------------------------------------------------------------------------------------

OWN_MAP = '<script type="importmap">{"imports": {"chart": "/static/chart.js"}}</script>'
OWN_MODULE = TEMPLATE.partition("{% telltale imports=imports %}\n")[2]
HEADS = {
    "documented": TEMPLATE,
    "before": OWN_MAP + "{% telltale %}" + OWN_MODULE,
    "after": "{% telltale %}" + OWN_MAP + OWN_MODULE,
    "with-ours": '<script type="importmap">{{ own|safe }}</script>{% telltale %}' + OWN_MODULE,
}
PAGE_OF_HEAD = """{%% load telltale %%}<!doctype html>
<html lang="en"><head><title>Chart</title>%s</head><body>{%% task_progress task %%}</body></html>
"""
MAPS = """
from tests.accounts.settings import *
DEBUG = True
ROOT_URLCONF = "site_urls"
STATICFILES_DIRS = [DIRECTORY / "assets"]
TEMPLATES[0]["DIRS"] = [DIRECTORY / "templates"]
TEMPLATES[0]["OPTIONS"]["context_processors"].append("site_urls.newest_task")
"""
URLS = f"""
import json
from django.urls import path
from telltale.models import TaskState
from telltale.templatetags.telltale import import_map
from tests.accounts.urls import urlpatterns

{BLOCKS["views.py"]}

def newest_task(request):
    return {{"task": TaskState.objects.order_by("created_at").last()}}

def page(request, place):
    own = {{"imports": {{"chart": static("chart.js"), **import_map()}}}}
    return render(request, place + ".html", {{"own": json.dumps(own)}})

urlpatterns = [path("documented/", chart), *urlpatterns, path("<slug:place>/", page)]
"""


@pytest.fixture(scope="module")
def site_with_maps() -> Iterator[AccountsSite]:
    files = {"site_settings.py": MAPS, "site_urls.py": URLS}
    files |= {"assets/chart.js": "export const draw = task => (document.body.dataset.drawn = task.state)"}
    for place, head in HEADS.items():
        files[f"templates/{'chart' if place == 'documented' else place}.html"] = PAGE_OF_HEAD % head
    with running(partial(AccountsSite, files=files)) as site:
        yield site


@pytest.mark.parametrize("place", HEADS)
def test_with_names_of_the_sites_own_in_an_import_map_both_modules_run(
    site_with_maps: AccountsSite, open_page: Callable[..., Page], place: str
) -> None:
    conflicts = ["as it conflicted with an existing rule"] if place == "with-ours" else []
    page = open_page(site_with_maps.url, *conflicts)
    assert_bar_moves(page, bar_path=f"{place}/")
    expect(page.locator("body")).to_have_attribute("data-drawn", "succeeded")
    maps = page.locator("script[type=importmap]").all_text_contents()
    assert len(maps) == (1 if place == "documented" else 2)
    assert place in {"before", "after"} or ("telltale/live/live.js" in maps[0] and "chart" in maps[0])
