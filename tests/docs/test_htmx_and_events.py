"""docs/htmx.md and docs/events.md: their code is a site here, and a browser with htmx 2 follows a task of it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from telltale.core.snapshot import RETURN_BYTES
from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.servers import ROOT, running

__all__ = ["browser"]

HTMX = (ROOT / "docs" / "htmx.md").read_text()
EVENTS = (ROOT / "docs" / "events.md").read_text()
STATIC = ROOT / "src" / "telltale" / "static" / "telltale"
DIST = ROOT / "tests" / "docs" / "htmx" / "node_modules" / "htmx.org" / "dist"
SETTINGS = f"""
from tests.accounts.settings import *
DEBUG = True
ROOT_URLCONF = "site_urls"
STATICFILES_DIRS = [{str(DIST)!r}]
TEMPLATES[0]["DIRS"] = [DIRECTORY / "templates"]
"""
URLS = """
from django.shortcuts import render
from django.urls import path
import telltale
from shop.tasks import import_contacts
from shop.totals import count_contacts
from urls import urlpatterns

def events(request):
    return render(request, "events.html", {"task": telltale.enqueue(import_contacts, 100)})

def leave(request):
    return telltale.accepted(request, telltale.enqueue(import_contacts, 100), next_url="/contacts/")

def totals(request):
    return render(request, "totals.html", {"task": telltale.enqueue(count_contacts)})

urlpatterns += [path("totals/", totals), path("events/", events), path("leave/", leave, name="leave")]
"""
EVENTS_PAGE = """{%% load telltale %%}<!doctype html>
<html lang="en"><head><title>Events</title>{%% telltale %%}</head>
<body>%s<pre id="log"></pre><p id="seen"></p><pre id="connection"></pre>%s</body></html>
"""
TOTALS_PAGE = """{%% load telltale %%}<!doctype html>
<html lang="en"><head><title>Totals</title>{%% telltale %%}</head>
<body>{%% task_progress task %%}<p id="total"></p>%s</body></html>
"""


def blocks(page: str) -> dict[str, str]:
    """The code of the page's blocks, by the name in the first line."""
    found = re.findall(r"^```\w+\n(?:# |\{# |<!-- )([\w/. ]+?)(?: #\}| -->)?\n(.*?)^```", page, re.S | re.M)
    return dict(found)


def files() -> dict[str, str]:
    of_htmx, of_events = blocks(HTMX), blocks(EVENTS)
    template = of_htmx.pop("shop/templates/shop/imports.html")
    boosted = '<form id="leave" hx-post="/leave/"><button>Leave</button></form>'
    boosted += '<form id="boosted" hx-boost="true" method="post" action="/start/"><button>Boosted</button></form>'
    scripts = of_events["events.html"] + of_events["connect.html"]
    return {
        **of_htmx,
        "site_settings.py": SETTINGS,
        "site_urls.py": URLS,
        "shop/__init__.py": "",
        "shop/totals.py": of_events["shop/totals.py"],
        "templates/totals.html": TOTALS_PAGE % of_events["totals.html"],
        "templates/events.html": EVENTS_PAGE % (of_events["own markup"] + of_events["tray markup"], scripts),
        "templates/shop/imports.html": template.replace('<div id="task">', boosted + '<div id="task">'),
    }


@pytest.fixture(scope="module")
def site() -> Iterator[AccountsSite]:
    assert (DIST / "htmx.min.js").exists(), "Install htmx: npm --prefix tests/docs/htmx ci"
    with running(lambda directory: AccountsSite(directory, files=files())) as started:
        yield started


@pytest.fixture
def page(browser: Browser, site: AccountsSite) -> Iterator[Page]:
    """A page of an anonymous visitor who has no session yet."""
    context = browser.new_context(base_url=site.url)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert errors == []


@pytest.mark.service
def test_htmx_puts_the_bar_into_the_page_and_it_is_live_to_its_end(page: Page) -> None:
    page.goto("/")
    page.evaluate("window.wasNotReloaded = true")
    page.get_by_role("button", name="Import contacts").click()
    bar = page.locator("#task > task-progress")
    expect(bar).to_have_attribute("state", "running")
    expect(bar).to_have_attribute("state", "succeeded")
    expect(page.locator("#contacts")).to_have_text("100 contacts")
    assert page.evaluate("window.wasNotReloaded") is True


@pytest.mark.service
def test_the_buttons_of_an_inserted_bar_lead_back_to_the_page_without_a_script_too(
    page: Page, site: AccountsSite
) -> None:
    page.goto("/")
    page.get_by_role("button", name="Import contacts").click()
    bar = page.locator("#task > task-progress")
    expect(bar).to_have_attribute("state", "running")
    page.evaluate("document.querySelector('.telltale-cancel').submit()")  # as a browser without scripts does
    page.wait_for_url(site.url + "/")
    expect(page.get_by_role("button", name="Import contacts")).to_be_visible()


@pytest.mark.service
def test_a_view_that_names_a_url_leaves_the_page(page: Page, site: AccountsSite) -> None:
    page.goto("/")
    page.get_by_role("button", name="Leave").click()
    page.wait_for_url(site.url + "/contacts/")


@pytest.mark.service
def test_a_boosted_form_leads_to_the_tasks_page(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Boosted").click()
    page.wait_for_url(re.compile(r"/telltale/tasks/[\w-]{36}/$"))
    expect(page.locator("task-progress")).to_have_attribute("state", "succeeded")


@pytest.mark.service
def test_the_documented_events_and_calls_see_the_task_and_own_markup_is_filled(page: Page) -> None:
    page.goto("/events/")
    expect(page.locator("#log")).to_contain_text("succeeded, see /contacts/")
    expect(page.locator("#log")).to_contain_text(re.compile(r"running \d+ of 100"))
    expect(page.locator("#seen")).to_have_text("Import contacts: succeeded")
    expect(page.locator("#connection")).to_contain_text("live")
    element = page.locator("task-progress")
    expect(element.locator("section > strong.telltale-label")).to_have_text("Import contacts")
    expect(element.locator("small.telltale-status")).to_contain_text("Done")
    assert element.locator(".telltale-label").count() == 1
    assert element.locator("progress.telltale-bar").evaluate("bar => bar.position") == 1


@pytest.mark.service
def test_the_documented_event_has_the_return_value(page: Page) -> None:
    page.goto("/totals/")
    expect(page.locator("#total")).to_have_text("100")


def test_the_page_about_events_names_the_limit_of_the_code() -> None:
    assert f"at most {RETURN_BYTES:,} bytes of JSON" in EVENTS


def test_the_page_about_events_lists_every_event_and_part_of_the_code() -> None:
    element = (STATIC / "elements" / "task-progress.js").read_text()
    parts = (STATIC / "elements" / "progress-parts.js").read_text()
    assert set(re.findall(r'"(telltale:\w+)"', element)) == set(re.findall(r"^\| `(telltale:\w+)`", EVENTS, re.M))
    created = set(re.findall(r'class(?:Name)?: "(telltale-\w+)"', parts))
    documented = set(re.findall(r"`(?:form\.)?(telltale-\w+)`", EVENTS.partition("## Own markup")[2]))
    only_found = set(re.findall(r'querySelector\("(?:form)?\.(telltale-\w+)"', parts)) - created
    assert only_found == {"telltale-cancel", "telltale-origin", "telltale-retry"}
    assert documented == created | only_found


def test_the_page_about_events_lists_every_state_of_the_connection() -> None:
    [states] = re.findall(r"@typedef \{(.*?)\} LiveState", (STATIC / "live" / "live.js").read_text())
    [row] = re.findall(r"^\| `live\.states\(listener\)` \| (.*) \|$", EVENTS, re.M)
    assert set(re.findall(r'"([\w ]+)"', states)) - {"idle"} == set(re.findall(r"`([\w ]+)`", row))


def test_the_page_about_htmx_names_the_headers_of_the_code() -> None:
    source = Path(ROOT / "src" / "telltale" / "pages" / "accepted.py").read_text()
    [names] = re.findall(r"SENT_BY_PROGRAMS: Final = \((.*)\)", source)
    assert [name for name in re.findall(r'"([\w-]+)"', names) if f"`{name}`" not in HTMX] == []


@pytest.mark.service
def test_the_tray_fills_the_documented_markup_and_creates_what_is_missing(page: Page) -> None:
    page.goto("/events/")
    button = page.locator("task-tray > button.telltale-tray-button.btn")
    expect(button).to_have_accessible_name(re.compile(r"^Jobs( 1)?$"))
    expect(page.locator("task-tray > a")).to_have_count(0)
    assert page.locator("task-tray > template").evaluate_all("all => all.map(it => it.checkVisibility())") == [
        False,
        False,
    ]
    button.click()
    row = page.locator("task-tray li.telltale-row.list-group-item")
    expect(row).to_have_count(1)
    expect(row).to_have_attribute("state", "running")
    expect(row.locator("strong.telltale-label > a")).to_have_attribute("href", re.compile("/telltale/tasks/"))
    stop = row.locator("form.telltale-cancel > button.btn-sm")
    expect(stop).to_have_accessible_name("Stop: Import contacts")
    stop.click()
    expect(row).to_have_attribute("state", "cancelled")
    expect(row.locator("small.telltale-status")).to_have_text("Stopped")
    expect(row.locator("form.telltale-retry")).to_contain_text("Start again")
    names = ("label", "figure", "bar", "status", "detail", "note", "cancel", "retry", "result", "row-actions", "top")
    assert {name: row.locator(f".telltale-{name}").count() for name in names} == dict.fromkeys(names, 1)
