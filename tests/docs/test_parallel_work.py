"""docs/parallel-work.md: each recipe counts all of its work, in a site that consists of the page's code."""

import pytest

import telltale
from tests.docs.test_runner_docs import Site
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "parallel-work.md").read_text()

SETUP = """
import asyncio, time
import django
django.setup()
import telltale
from telltale.models import TaskState

async def numbers(count):
    for number in range(count):
        await asyncio.sleep(0)
        yield number

def show(result=None):
    row = TaskState.objects.latest("created_at")
    progress = row.snapshot.progress
    print(row.state, progress.current, progress.total, progress.fraction, result)
"""
IN_A_TASK = """
with telltale.track("Work"):
    result = {call}
show(result)
"""
IN_A_COROUTINE = """
async def work():
    async with telltale.track("Work"):
        await {call}
asyncio.run(work())
show()
"""
RECIPES = {
    "with_threads": (IN_A_TASK, "fetch_all(time.sleep, [0.001] * 20)", "succeeded 20 20 1.0 None"),
    "with_context": (IN_A_TASK, "fetch_all(time.sleep, [0.001] * 20)", "succeeded 20 20 1.0 None"),
    "with_processes": (IN_A_TASK, "square_all(range(20))", "succeeded 20 20 1.0 2470"),
    "with_joblib": (IN_A_TASK, "square_all(range(20))", "succeeded 20 20 1.0 2470"),
    "with_gather": (IN_A_COROUTINE, "fetch_all(asyncio.sleep, [0.001] * 20)", "succeeded 20 20 1.0 None"),
    "with_stages": (IN_A_COROUTINE, "import_both(numbers(10), numbers(20))", "succeeded None None 1.0 None"),
}
CANCELLED = """
import time
from shop.{module} import fetch_all
started = []
def fetch(page):
    started.append(page)
    telltale_task.request_cancel()
    time.sleep(0.1)  # All of them take many seconds.
try:
    with telltale.track("Work") as telltale_task:
        fetch_all(fetch, range(1_000))
except telltale.Cancelled:
    print(TaskState.objects.latest("created_at").state, len(started) < 1_000)
"""
VIEW = """
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory
from shop.views import start

request = RequestFactory().get("/", HTTP_ACCEPT="application/json")
request.user, request.session = AnonymousUser(), SessionStore()
print(asyncio.run(start(request)).status_code, TaskState.objects.latest("created_at").label)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site("../parallel-work", tmp_path_factory.mktemp("parallel-work"))
    site.run("manage.py", "migrate", "--verbosity=0")
    return site


@pytest.mark.service
@pytest.mark.parametrize("module", RECIPES)
def test_a_recipe_counts_all_of_its_work(site: Site, module: str) -> None:
    block, call, expected = RECIPES[module]
    assert site.run("-c", SETUP + f"from shop.{module} import *\n" + block.format(call=call)).strip() == expected


@pytest.mark.service
@pytest.mark.parametrize("module", ["with_threads", "with_context"])
def test_a_cancellation_stops_the_work_of_the_threads(site: Site, module: str) -> None:
    assert site.run("-c", SETUP + CANCELLED.format(module=module)).strip() == "cancelled True"


@pytest.mark.service
def test_the_async_view_starts_the_task(site: Site) -> None:
    assert site.run("-c", SETUP + VIEW).strip() == "202 Import contacts"


def test_the_page_names_every_async_form() -> None:
    forms = [name for name in telltale.__all__ if name.startswith("a") and name[1:] in telltale.__all__]
    assert len(forms) == 8
    assert [name for name in forms if f"`{name}`" not in PAGE and f"`telltale.{name}`" not in PAGE] == []


def test_every_recipe_of_the_page_is_run() -> None:
    files = {
        path.removeprefix("# shop/").removesuffix(".py") for path in PAGE.splitlines() if path.startswith("# shop/")
    }
    assert files == {*RECIPES, "tasks", "views"}
