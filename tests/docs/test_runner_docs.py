"""The pages of the runners are true: a site is written from the code of each page, and run with the page's worker."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runners.abilities_table import BEGIN, END, PAGE, abilities_table
from tests.servers import ROOT, Postgres, Redis, running

PAGES = PAGE.parent
BASE = """
import os
from pathlib import Path
HERE = Path(__file__).parent
SECRET_KEY = "docs"
USE_TZ = True
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if "PG_PORT" in os.environ:
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "telltale",
                             "HOST": "127.0.0.1", "PORT": os.environ["PG_PORT"]}}
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(HERE / "db.sqlite3"), "OPTIONS": {
        "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "telltale"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware", "telltale.owners.OwnerMiddleware"]
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("telltale/", include("telltale.urls"))]
"""
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
VIEW = """
import time
import django
django.setup()
import telltale
from telltale import store
{view}
until = time.monotonic() + 60
while not (row := store.get_task(task.pk)).ended_at and time.monotonic() < until:
    time.sleep(0.05)
print(row.state, row.attempt, row.snapshot.progress.current)
"""


class Site:
    """A site that consists of the code of one page."""

    def __init__(self, page: str, home: Path, **env: str) -> None:
        text = (
            (PAGES / f"{page}.md").read_text(encoding="utf-8").replace("redis://localhost:6379/0", env.get("REDIS", ""))
        )
        self._home = home
        self._env = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", **env}
        self._env["PYTHONPATH"] = os.pathsep.join([str(home), str(ROOT / "src")])
        self._env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.view, self.commands = "", re.findall(r"^\$ (.+)$", text, re.M)
        (home / "shop" / "management" / "commands").mkdir(parents=True)
        for package in ("shop", "shop/management", "shop/management/commands"):
            (home / package / "__init__.py").write_text("")
        (home / "urls.py").write_text(URLS)
        (home / "manage.py").write_text(MANAGE)
        for block in re.findall(r"```python\n(# (?:in a view|[\w/]+\.py)\n.+?)```", text, re.S):
            self._write(*block.split("\n", 1))

    def _write(self, heading: str, code: str) -> None:
        name = heading.removeprefix("# ")
        if name == "in a view":
            self.view = code
        else:
            (self._home / name).parent.mkdir(parents=True, exist_ok=True)
            with (self._home / name).open("a") as file:
                file.write((BASE if name == "settings.py" and file.tell() == 0 else "") + code)

    def run(self, *arguments: str) -> str:
        """Run Python in the site; returns its output."""
        command = [sys.executable, "-W", "ignore", *arguments]
        process = subprocess.run(command, cwd=self._home, env=self._env, capture_output=True, text=True, timeout=100)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout.strip()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the worker by the page's command."""
        with (self._home / "worker.log").open("wb") as out:
            return subprocess.Popen(
                shlex.split(self.commands[0]),
                cwd=self._home,
                env=self._env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def worker_log(self) -> str:
        """The output of the worker."""
        return (self._home / "worker.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


def test_the_table_of_abilities_is_made_from_the_code() -> None:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert table == abilities_table(), "run `python -m tests.runners.abilities_table`, and review the change"


@pytest.mark.service
@pytest.mark.parametrize("page", ["celery", "django-tasks", "rq", "dramatiq", "huey", "django-q", "channels"])
def test_the_code_of_a_page_works(page: str, redis: Redis, tmp_path: Path) -> None:
    redis.forget()
    assert run_view_with_worker(Site(page, tmp_path, REDIS=redis.url)) == "succeeded 1 1000"


@pytest.mark.service
def test_the_group_on_celerys_page_is_shown_as_one_task(redis: Redis, tmp_path: Path) -> None:
    redis.forget()
    site = Site("celery", tmp_path, REDIS=redis.url)
    site.view = "from shop.many import import_all\ntask = import_all(None, [10, 20, 30])"
    assert run_view_with_worker(site) == "succeeded 1 3"


@pytest.mark.service
def test_the_code_of_procrastinates_page_works(tmp_path: Path) -> None:
    with running(Postgres) as server:
        assert run_view_with_worker(Site("procrastinate", tmp_path, PG_PORT=str(server.port))) == "succeeded 1 1000"


def run_view_with_worker(site: Site) -> str:
    """The state, attempt and progress of the task that the page's view enqueues, and the worker's log if it fails."""
    site.run("manage.py", "migrate", "-v0")
    worker = site.start()
    try:
        result = site.run("-c", VIEW.format(view=site.view))
        return result if result.startswith("succeeded") else f"{result}\n{site.worker_log()}"
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)


@pytest.mark.service
def test_the_code_of_the_page_about_threads_and_commands_works(tmp_path: Path) -> None:
    site = Site("threads-and-commands", tmp_path)
    site.run("manage.py", "migrate", "-v0")
    assert site.run("-c", VIEW.format(view=site.view)) == "succeeded 1 1000"
    found = "from shop.finding import import_of; print(import_of(1_000).state, import_of(7))"
    assert site.run("-c", f"import django; django.setup(); {found}") == "succeeded None"
    site.run("manage.py", "rebuild")
    site.run(
        "-c", "import django, asyncio; django.setup(); from shop.rates import fetch_rates; asyncio.run(fetch_rates(7))"
    )
    print_tasks = "print(*TaskState.objects.order_by('created_at').values_list('label', 'state'))"
    output = site.run("-c", f"import django; django.setup(); from telltale.models import TaskState; {print_tasks}")
    assert output.endswith("('Rebuild the index', 'succeeded') ('Fetch the rates', 'succeeded')")
