"""The site of docs/soft-navigation.md: its templates, two tasks that advance when they are told to, and notices."""

import re
from typing import Final

from tests.servers import ROOT

PAGE: Final = (ROOT / "docs" / "soft-navigation.md").read_text()
MODULES: Final = ROOT / "tests" / "docs" / "soft" / "node_modules"
LIBRARIES: Final = {
    "turbo": "@hotwired/turbo/dist",
    "htmx2": "htmx.org/dist",
    "htmx4": "htmx4/dist",
    "idiomorph": "idiomorph/dist",
    "unpoly": "unpoly",
    "alpine": "alpinejs/dist",
    "vue": "vue/dist",
}
"""The folders of the libraries' files, by their names below `STATIC_URL`."""
SETTINGS: Final = f"""
from tests.accounts.settings import *
DEBUG = True
ROOT_URLCONF = "site_urls"
STATICFILES_DIRS = {[(name, str(MODULES / folder)) for name, folder in LIBRARIES.items()]!r}
TEMPLATES[0]["DIRS"] = [DIRECTORY / "templates"]
"""
# Tasks fail after their test, so no usual duration is learnt. By one, bars would be filled before a count is saved.
TASKS: Final = '''
import threading
import telltale

_reached = {}  # by run and name
_changed = threading.Condition()

def count(run, name):
    """Count to 100, but not beyond the number that was set."""
    for number in telltale.progress(range(100)):
        with _changed:
            _changed.wait_for(lambda: _reached.get((run, name), 20) > number, timeout=300)
            if _reached.get((run, name), 20) > 100:
                raise RuntimeError("The test has ended.")

@telltale.tracked(label="First", runner="thread")
def first(run):
    count(run, "First")

@telltale.tracked(label="Second", runner="thread")
def second(run):
    count(run, "Second")

def advance(run, name, number):
    with _changed:
        _reached[run, name] = number
        _changed.notify_all()
'''
URLS: Final = """
from django.contrib.auth import logout
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
import telltale
from soft_tasks import advance, first, second
from telltale.models import TaskState
from tests.accounts.urls import urlpatterns

def start(request):
    # `run` tells the tasks of one test from those of others.
    run = request.session["run"] = request.GET["run"]
    request.session["tasks"] = [str(telltale.enqueue(task, run).pk) for task in (first, second)]
    return redirect("imports")

def page(request, title):
    tasks = [TaskState.objects.get(pk=pk) for pk in request.session.get("tasks", [])]
    context = {"title": title, "tasks": tasks, "task": tasks[0] if tasks and title == "Imports" else None}
    return render(request, request.COOKIES["library"] + ".html", context)

def reach(request, name, number):
    advance(request.GET.get("run") or request.session["run"], name, number)
    return HttpResponse()

def notify(request, level):
    telltale.notify(request, request.GET["text"], level=level)
    return HttpResponse()

def sign_out(request):
    logout(request)
    return redirect("about")

urlpatterns[0:1] = [
    path("", page, {"title": "Imports"}, name="imports"),
    path("about/", page, {"title": "About"}, name="about"),
    path("start/", start),
    path("reach/<name>/<int:number>/", reach),
    path("notify/<level>/", notify),
    path("sign-out/", sign_out, name="sign_out"),
]
"""


OWN_ROW: Final = """<template class="telltale-row own"><b class="telltale-label"></b></template>"""
"""Markup of the site's own for the tray's rows."""


def files() -> dict[str, str]:
    """Return the files of the site, with the page's templates."""
    page = PAGE.replace("<task-tray>", "<task-tray>" + OWN_ROW)
    templates = re.findall(r"^```django\n\{# (templates/\w+\.html) #\}\n(.*?)^```", page, re.S | re.M)
    return {**dict(templates), "site_settings.py": SETTINGS, "soft_tasks.py": TASKS, "site_urls.py": URLS}
