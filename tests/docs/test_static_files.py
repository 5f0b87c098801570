"""docs/static-files.md: every storage of static files, each seen moving a bar in a real browser."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from playwright.sync_api import Page, expect

from tests.accounts.bar import JSON, assert_bar_moves
from tests.accounts.deployment import Deploy, OpenPage, deploy, open_page
from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.servers import ROOT, running

__all__ = ["browser", "deploy", "open_page"]

pytestmark = pytest.mark.service

PAGE = (ROOT / "docs" / "static-files.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (settings\.py: .*?|views\.py)\n(.*?)^```", PAGE, re.S | re.M))
[NGINX] = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.S | re.M)
[TEMPLATE] = re.findall(r"^```django\n\{# chart.html #\}\n(.*?)^```", PAGE, re.S | re.M)
CORS: Final = '    add_header Access-Control-Allow-Origin "*";\n'


class AggregatingStorage(ManifestStaticFilesStorage):
    """Also puts hashed names into modules' own import statements."""

    support_js_module_import_aggregation = True


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
    deploy: Deploy, open_page: OpenPage, storage: str
) -> None:
    deployment = deploy(f'STORAGES = {{"staticfiles": {{"BACKEND": "{storage}"}}}}')
    page = open_page(deployment.nginx(BEFORE_THE_SITE, site=deployment.site()))
    urls = requests_of(page)
    assert_bar_moves(page)
    is_hashed = {bool(re.search(r"\.[0-9a-f]{12}\.(js|css)$", url)) for url in urls}
    assert is_hashed == {not storage.endswith(".StaticFilesStorage")}
    # Each module is fetched once, so hashed names and others are not mixed.
    assert len(urls) == len(set(urls)) > 20


def test_with_whitenoise_and_its_documented_lines_a_bar_moves(deploy: Deploy, open_page: OpenPage) -> None:
    deployment = deploy(BLOCKS["settings.py: WhiteNoise"].replace("    ...,\n", "    *MIDDLEWARE,\n"))
    page = open_page(deployment.site())
    urls = requests_of(page)
    assert_bar_moves(page)
    assert all(re.search(r"\.[0-9a-f]{12}\.(js|css)$", url) for url in urls)
    assert text_after_bar(page) == ("none", False)


def text_after_bar(page: Page) -> tuple[str, bool]:
    """The text below a bar whose modules have not run, and whether it can be seen."""
    script = "bar => { const { content, height } = getComputedStyle(bar, '::after'); return [content, height] }"
    content, height = page.locator("task-progress").evaluate(script)
    return content.strip('"'), height not in {"0px", "auto"}


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
    deploy: Deploy, open_page: OpenPage
) -> None:
    deployment = deploy("")
    static = deployment.nginx(documented_block())
    page = open_page(deployment.site(STATIC_URL=f"{static}/"))
    urls = requests_of(page)
    assert_bar_moves(page)
    assert all(url.startswith(static) for url in urls)


def test_without_the_header_the_browser_names_it_and_the_check_for_deployments_does_too(
    deploy: Deploy, open_page: OpenPage
) -> None:
    assert NGINX.count(CORS) == 1
    deployment = deploy("")
    static = deployment.nginx(documented_block().replace(CORS, ""))
    page = open_page(deployment.site(STATIC_URL=f"{static}/"), "blocked by CORS policy", "net::ERR_FAILED")
    page.request.post("/start/", headers=JSON)
    with page.expect_console_message(lambda line: "Access-Control-Allow-Origin" in line.text):
        page.goto("/bar/")
    # Later, the bar says so as well.
    page.evaluate("document.getAnimations().forEach(animation => animation.finish())")
    assert text_after_bar(page) == ("Live updates stopped. Reload the page.", True)
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
    site_with_maps: AccountsSite, open_page: OpenPage, place: str
) -> None:
    conflicts = ["as it conflicted with an existing rule"] if place == "with-ours" else []
    page = open_page(site_with_maps.url, *conflicts)
    assert_bar_moves(page, bar_path=f"{place}/")
    expect(page.locator("body")).to_have_attribute("data-drawn", "succeeded")
    maps = page.locator("script[type=importmap]").all_text_contents()
    assert len(maps) == (1 if place == "documented" else 2)
    assert place in {"before", "after"} or ("telltale/live/live.js" in maps[0] and "chart" in maps[0])
