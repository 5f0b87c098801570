"""A project made by `startproject`, with the README's lines and then the blocks of one page, word for word.

Four things are not the documentation's: the view around the lines "in a view", the work of each row where a task's
code has `...`, the addresses of servers, and the lines of settings that a test passes.
"""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import indent

from tests.docs.test_readme import IN_SETTINGS, IN_TEMPLATE
from tests.fresh.installs import Environment
from tests.servers import ROOT, free_port

PATIENCE_S = 90.0
HALF = 500
"""The row at which the work waits for the release. The pages' tasks have 1,000."""

WORK = f"""
import itertools, pathlib, time

rows = itertools.count()


def work():
    if next(rows) == {HALF}:
        give_up_at = time.monotonic() + {PATIENCE_S}
        while not pathlib.Path("release").exists() and time.monotonic() < give_up_at:
            time.sleep(0.05)
"""
VIEWS = """
import telltale
from django.shortcuts import get_object_or_404, render
from telltale.models import TaskState


def upload(request):
{code}
    return telltale.accepted(request, task)


def own(request, pk):
    return render(request, "own.html", {{"task": get_object_or_404(TaskState, pk=pk)}})
"""
URLS = """
from shop.views import own, upload

urlpatterns += [path("upload/", upload), path("own/<uuid:pk>/", own)]
"""
OWN_PAGE = """<!doctype html>
<html lang="en"><head><title>Own page</title>{head}</head>
<body>{body}<main>{{% task_progress task %}}</main></body></html>
"""


class Project:
    """A project in a directory of its own, whose programs are those of an environment."""

    def __init__(self, home: Path, environment: Environment, *, name: str = "shop") -> None:
        """`name`: of the project. The app of the pages' tasks is `shop`, which may be the project itself."""
        self.home, self.name, self._environment = home, name, environment
        self.run(f"django-admin startproject {name} .")
        if name != "shop":
            self.run("python manage.py startapp shop")
        self._follow_the_readme()

    def _follow_the_readme(self) -> None:
        in_settings, in_urls, in_asgi = re.split(r"# (?:urls|asgi)\.py.*\n", IN_SETTINGS)
        in_settings = in_settings.replace("[...", "[*INSTALLED_APPS", 1).replace("[...", "[*MIDDLEWARE", 1)
        self._append(f"{self.name}/settings.py", in_settings)
        self._append(f"{self.name}/urls.py", in_urls.replace("[...", "[*urlpatterns") + URLS)
        asgi = self.home / self.name / "asgi.py"
        asgi.write_text(asgi.read_text().replace("from django.core.asgi import get_asgi_application\n", in_asgi))
        head, body = re.split(r"(?<=%})[^\n]*<head>[^\n]*\n", IN_TEMPLATE)
        self._write("shop/templates/own.html", OWN_PAGE.format(head=head, body=body))

    def follow(self, page: str, addresses: Mapping[str, str]) -> list[str]:
        """Write the files of a page below docs/; return its commands. `addresses`: the servers', by the page's."""
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for written, real in addresses.items():
            text = text.replace(written, real)
        self._write("shop/work.py", WORK)
        for name, code in re.findall(r"```python\n# (in a view|[\w/]+\.py)\n(.+?)```", text, re.S):
            self._follow_block(name, code)
        return re.findall(r"^\$ (.+)$", text, re.M)

    def _follow_block(self, name: str, code: str) -> None:
        if name == "settings.py":
            self.set(code)
        elif name == "in a view":
            self._write("shop/views.py", VIEWS.format(code=indent(code, "    ")))
        else:
            working, count = re.subn(r"^( +)\.\.\.$", r"\1work()", code, flags=re.M)
            self._write(name, ("from shop.work import work\n" if count else "") + working)

    def set(self, settings: str, urls: str = "") -> None:
        """Append lines to the settings and to the URLs."""
        self._append(f"{self.name}/settings.py", settings)
        self._append(f"{self.name}/urls.py", urls)

    def release(self) -> None:
        """Let the work continue after its half."""
        (self.home / "release").touch()

    def _write(self, name: str, text: str) -> None:
        (self.home / name).parent.mkdir(parents=True, exist_ok=True)
        (self.home / name).write_text(text)

    def _append(self, name: str, text: str) -> None:
        with (self.home / name).open("a") as file:
            file.write("\n" + text)

    def run(self, line: str) -> str:
        """Run a documented command to its end; return its output."""
        words, env = self._environment.command(line), self._environment.variables()
        finished = subprocess.run(words, cwd=self.home, env=env, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    @contextmanager
    def running(self, line: str, port: int | None = None) -> Iterator[Path]:
        """Run a documented command meanwhile, from when it listens at `port`; yield the file of its output."""
        words, env = self._environment.command(line), self._environment.variables()
        log = self.home / f"{free_port()}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                words, cwd=self.home, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            if port is not None:
                _await_listener(port, process, log)
            yield log
            assert process.poll() is None, f"{line} ended by itself:\n{log.read_text(errors='replace')}"
        finally:
            _stop(process)


def _await_listener(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < give_up_at, log.read_text(errors="replace")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
