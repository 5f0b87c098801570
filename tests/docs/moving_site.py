"""Writes the code of a page in docs/moving as a project, and runs it: daphne, Redis, a Celery worker."""

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.demo.site import wait_until_up
from tests.servers import ROOT, Redis, await_text, free_port

REDIS_URL = "redis://localhost:6379/0"
"""The address that the pages show; the project gets that of the test's own Redis."""

SETTINGS = """
from pathlib import Path
HERE = Path(__file__).parent
SECRET_KEY = "docs"
DEBUG = True
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
ASGI_APPLICATION = "asgi.application"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "db.sqlite3", "OPTIONS": {
    "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                  "django.contrib.staticfiles"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
    "context_processors": ["django.template.context_processors.request"]}}]
"""
URLS = """
from django.urls import path
from shop.views import start
urlpatterns = [path("", start)]
"""
CELERY = """
from celery import Celery
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
PACKAGE = """
from shop.celery import app
__all__ = ["app"]
"""
MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


def blocks(text: str, version: str) -> dict[str, str]:
    """Return the code of each file of that version, "before" or "after", by the file's name."""
    found = re.findall(r"^```\w+\n(?:# |\{# )" + version + r": ([\w/.]+)(?: #\})?\n(.*?)^```", text, re.S | re.M)
    return dict(found)


class MovingSite:
    """One version of a page's project, running in a directory."""

    def __init__(self, files: dict[str, str], home: Path, redis: Redis) -> None:
        self._home = home
        self.url = f"http://127.0.0.1:{free_port()}"
        path = os.pathsep.join([str(home), str(ROOT / "src")])
        self._environment = os.environ | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": path}
        surroundings = {"urls.py": URLS, "manage.py": MANAGE, "shop/celery.py": CELERY, "shop/__init__.py": PACKAGE}
        for name, code in (surroundings | files).items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            start = SETTINGS if name == "settings.py" else ""
            file.write_text(start + code.replace(REDIS_URL, redis.url))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._run("manage.py", "migrate", "-v0")
            worker = self._start(stack, "worker", "-m", "celery", "-A", "shop", "worker", "-c", "1", "-l", "INFO")
            await_text(self._home / "worker.log", " ready.", worker)
            port = self.url.rpartition(":")[2]
            self._start(stack, "daphne", "-m", "daphne", "-b", "127.0.0.1", "-p", port, "asgi:application")
            # The first page would start a task.
            wait_until_up(self.url + "/nothing/")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _run(self, *arguments: str) -> None:
        command = [sys.executable, "-W", "ignore", *arguments]
        subprocess.run(command, cwd=self._home, env=self._environment, check=True)

    def _start(self, stack: ExitStack, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._home / f"{name}.log").open("wb") as out:
            command = [sys.executable, "-W", "ignore", *arguments]
            process = subprocess.Popen(command, cwd=self._home, env=self._environment, stdout=out, stderr=out)
        stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
