"""docs/other-tasks.md: a project with Wagtail, made of the page's code, runs commands and tasks of packages."""

import re

import pytest
from django.utils.module_loading import import_string

from telltale.dispatch.command import LINE_CHARS
from telltale.dispatch.registry import BUILT_IN
from telltale.dispatch.runner import Ability, abilities
from tests.docs.test_runner_docs import VIEW, Site
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "other-tasks.md").read_text()
WAGTAIL = """
from django import VERSION
TASKS_APP = ["django_tasks"] if VERSION < (6, 0) else []
INSTALLED_APPS += ["django.contrib.staticfiles", "wagtail", "modelsearch", "taggit", *TASKS_APP]
STATIC_URL = "static/"
WAGTAILADMIN_BASE_URL = "https://example.com"
"""
TASKS = """
import django
django.setup()
from telltale.models import TaskState
for task in TaskState.objects.all():
    print(task.label, task.state, task.snapshot.progress.message, sep=" | ", end=" |\\n")
"""

SAVES_A_PAGE = """
import django
django.setup()
from wagtail.models import Page
Page.objects.get(pk=1).save()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    home = tmp_path_factory.mktemp("other-tasks")
    site = Site("../other-tasks", home)
    with (home / "settings.py").open("a") as settings:
        settings.write(WAGTAIL)
    site.run("manage.py", "migrate", "--verbosity=0")
    return site


@pytest.mark.service
def test_wagtails_command_is_followed_by_the_documented_lines(site: Site) -> None:
    *printed, ended = site.run("-c", VIEW.format(view=site.view)).splitlines()
    assert ended.startswith("succeeded 1 ")
    [indexed] = [line for line in printed if line.startswith("Indexed")]
    assert f"Rebuild the references | succeeded | {indexed} |" in site.run("-c", TASKS).splitlines()


@pytest.mark.service
def test_djangos_commands_in_a_command_of_ones_own_are_tasks_and_print_as_before(site: Site) -> None:
    printed = site.run("manage.py", "nightly")
    assert "ROOT_URLCONF = 'urls'" in printed
    tasks = site.run("-c", TASKS).splitlines()
    assert "Clear old sessions | succeeded |  |" in tasks
    assert f"List the settings | succeeded | {printed.splitlines()[-1]} |" in tasks


@pytest.mark.service
def test_wagtails_own_tasks_are_followed_by_the_documented_setting(site: Site) -> None:
    site.run("-c", SAVES_A_PAGE)
    assert "Update reference index task | succeeded |  |" in site.run("-c", TASKS).splitlines()


def test_the_table_says_of_each_runner_whether_it_follows_names() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, re.M)
    runners = {name: import_string(path.replace(":", "."))() for name, path in BUILT_IN.items()}
    follows = {name: Ability.FOLLOWS in abilities(runner) for name, runner in runners.items()}
    assert {name: matched != "nothing" for name, matched in rows} == follows


def test_the_page_names_the_limit_of_the_code() -> None:
    assert f"at most {LINE_CHARS} characters" in PAGE
