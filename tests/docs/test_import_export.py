"""docs/other-tasks.md about django-import-export: a site that consists of the page's code, in a browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import tablib
from django.contrib.auth.models import Group
from import_export.resources import ModelResource, modelresource_factory
from playwright.sync_api import Browser, Page, expect

import telltale
from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from telltale.worker.run import run_attempt
from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.servers import ROOT, running

__all__ = ["browser"]

PAGE = (ROOT / "docs" / "other-tasks.md").read_text()
SETTINGS = """
from tests.accounts.settings import *
ROOT_URLCONF = "site_urls"
DEBUG = True
INSTALLED_APPS += ["django.contrib.admin", "import_export", "contacts"]
IMPORT_EXPORT_USE_TRANSACTIONS = False
"""
URLS = """
from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.db.models.signals import pre_save
from django.http import HttpResponse
from django.urls import path
import telltale
from contacts.models import Contact
from tests.accounts.tasks import released
from urls import urlpatterns

def wait_in_the_middle(instance, **_):
    task = telltale.current()
    if task.total and instance.name == "Grace":  # not in the preview
        while not (released.wait(0.02) or task.cancel_requested):
            pass

pre_save.connect(wait_in_the_middle, sender=Contact, weak=False)

def sign_in_as_staff(request):
    user, _is_new = get_user_model().objects.get_or_create(username="admin", is_staff=True, is_superuser=True)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse()

def names(request):
    return HttpResponse(" ".join(Contact.objects.order_by("pk").values_list("name", flat=True)))

def delete_all(request):
    Contact.objects.all().delete()
    return HttpResponse()

urlpatterns += [
    path("admin/", admin.site.urls), path("staff/", sign_in_as_staff), path("names/", names),
    path("delete-all/", delete_all),
]
"""
HIDDEN_WIDTHS = """
  [document.documentElement, ...document.querySelectorAll(".results")].map(e => e.scrollWidth - e.clientWidth)
"""
FILE = {"name": "contacts.csv", "mimeType": "text/csv", "buffer": b"id,name\n,Ada\n,Bob\n,Grace\n,Joan\n,Mary\n"}


def files() -> dict[str, str]:
    blocks = dict(re.findall(r"^```python\n# (contacts/\w+\.py)\n(.*?)^```", PAGE, re.S | re.M))
    return {
        **blocks,
        "contacts/__init__.py": "",
        "site_settings.py": SETTINGS,
        "site_urls.py": URLS.replace("from urls", "from tests.accounts.urls"),
    }


@pytest.fixture(scope="module")
def site() -> Iterator[AccountsSite]:
    with running(lambda directory: AccountsSite(directory, files=files())) as started:
        yield started


@pytest.fixture
def page(browser: Browser, site: AccountsSite) -> Iterator[Page]:
    """The page of an import that waits in its third row."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/staff/")
    page.goto("/delete-all/")
    page.goto("/hold/")
    page.goto("/admin/contacts/contact/import/")
    page.locator("input[type=file]").set_input_files([FILE])
    page.locator("select[name=format]").select_option(label="csv")
    page.locator("input[type=submit]").first.click()
    page.locator("input[name=confirm]").click()
    page.wait_for_url(re.compile(r"/telltale/tasks/[\w-]{36}/$"))
    expect(page.locator("task-progress .telltale-detail")).to_contain_text("2 of 5 rows")
    expect(page.locator("task-progress")).to_have_attribute("state", "running")
    yield page
    context.close()


def names(page: Page) -> list[str]:
    page.goto("/names/")
    return page.locator("body").inner_text().split()


@pytest.mark.service
def test_an_import_in_the_admin_is_followed_live_and_cancelled_in_its_middle(page: Page) -> None:
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("task-progress")).to_have_attribute("state", "cancelled")
    expect(page.locator("task-progress .telltale-detail")).to_have_text("after 3 of 5 rows")
    assert names(page) == ["Ada", "Bob", "Grace"], "each row is committed by itself"


@pytest.mark.service
def test_an_import_in_the_admin_is_live_to_its_end(page: Page) -> None:
    page.request.post("/release/")
    expect(page.locator("task-progress")).to_have_attribute("state", "succeeded")
    expect(page.locator("task-progress .telltale-detail")).to_contain_text("5 rows")
    assert names(page) == ["Ada", "Bob", "Grace", "Joan", "Mary"]


@pytest.mark.service
def test_the_admins_list_is_live_and_its_row_has_a_button_that_stops_the_task(page: Page) -> None:
    task = page.locator("task-progress").get_attribute("task")
    page.goto(f"/admin/telltale/taskstate/?q={task}")
    row = page.locator("#result_list tbody tr")
    expect(row.locator("task-progress")).to_have_attribute("state", "running")
    expect(row.locator(".telltale-detail")).to_contain_text("2 of 5 rows")
    row.get_by_role("button", name="Stop").click()
    expect(page.locator(".messagelist")).to_contain_text("1 task")
    # The page was loaded while the task ran on, or after it: either way its row shows the end.
    expect(row.locator("task-progress")).to_have_attribute("state", "cancelled")
    expect(row.get_by_role("button", name="Stop")).to_be_hidden()


@pytest.mark.service
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admins_list_and_story_fit_a_phone_and_a_small_laptop(page: Page, scheme: Any) -> None:
    task = page.locator("task-progress").get_attribute("task")
    page.request.post("/release/")
    page.emulate_media(color_scheme=scheme)
    for width in (360, 1_280):
        page.set_viewport_size({"width": width, "height": 800})
        for address in (f"?q={task}", f"{task}/change/"):
            page.goto(f"/admin/telltale/taskstate/{address}")
            expect(page.locator("task-progress")).to_have_attribute("state", "succeeded")
            assert set(page.evaluate(HIDDEN_WIDTHS)) == {0}, (width, address)


def test_at_most_ten_lines_make_the_import_a_task() -> None:
    blocks = files()
    tasks, admin = blocks["contacts/tasks.py"], blocks["contacts/admin.py"].partition("resource_classes")[2]
    lines = [*tasks.splitlines(), *admin.splitlines()[1:]]
    assert len([line for line in lines if line.strip() and not line.startswith(("import ", "from "))]) <= 10


def _cancelled_import(resource: type[ModelResource], rows: tablib.Dataset) -> TaskState:
    """The row of an import that was asked to stop before its second row."""
    task = store.queue(runner="test", name="import", label="Import").task
    with pytest.raises(telltale.Cancelled), run_attempt(task_id=task.pk):
        resource().import_data(rows, use_transactions=True)
    task.refresh_from_db()
    return task


@pytest.mark.django_db(transaction=True)
def test_a_cancellation_in_a_hook_for_each_row_stops_the_import_and_nothing_is_imported() -> None:
    class GroupResource(modelresource_factory(Group)):  # type: ignore[misc]
        def before_import_row(self, row: object, **kwargs: object) -> None:
            telltale.check_cancelled()
            telltale.current().request_cancel()

    task = _cancelled_import(GroupResource, tablib.Dataset(*((None, name) for name in "abc"), headers=["id", "name"]))
    assert (task.state, Group.objects.count()) == (State.CANCELLED, 0)


@pytest.mark.django_db(transaction=True)
def test_a_cancellation_between_two_counted_rows_stops_the_import() -> None:
    class CountedRows(tablib.Dataset):
        def __iter__(self) -> Iterator[tuple[object, ...]]:
            return iter(telltale.progress(self[:], unit="rows"))

    class GroupResource(modelresource_factory(Group)):  # type: ignore[misc]
        def after_import_row(self, row: object, row_result: object, **kwargs: object) -> None:
            telltale.current().request_cancel()

    task = _cancelled_import(GroupResource, CountedRows(*((None, name) for name in "abc"), headers=["id", "name"]))
    assert (task.state, task.snapshot.progress.current, Group.objects.count()) == (State.CANCELLED, 1, 0)
