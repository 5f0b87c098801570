"""The README's code is run as it stands there: whoever pastes it gets what is promised."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.template import engines
from django.test import RequestFactory
from django.utils.module_loading import import_string

import telltale
from telltale.brokers import build
from telltale.brokers.base import Reach
from telltale.checks import check_sqlite
from telltale.management.commands.telltale import Command
from telltale.models import TaskState
from telltale.urls import urlpatterns
from tests.app.celery import app
from tests.app.compat import task

README = (Path(__file__).parents[2] / "README.md").read_text()
IN_SETTINGS, CELERY, DJANGO_TASKS, GROWN = re.findall(r"```python\n(.*?)```", README, re.S)
[IN_TEMPLATE] = re.findall(r"```django\n(.*?)```", README, re.S)

ROWS = ["Ada", "Grace", "Mary"]


@pytest.fixture
def saved() -> list[str]:
    return []


@pytest.fixture
def eager() -> Iterator[None]:
    """Celery runs tasks at once, in this process."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture
def pasted(saved: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a snippet as a module of its own, beside the functions that a site would bring."""

    def paste(code: str) -> Any:
        module = ModuleType("readme_tasks")
        module.__dict__.update(
            telltale=telltale,
            shared_task=app.task,
            task=task,
            parse=lambda upload_id: ROWS,
            save=saved.append,
            save_upload=lambda request: SimpleNamespace(pk=7),
        )
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(code, module.__dict__)  # noqa: S102 (our own README)
        return module

    yield paste
    for name in [name for name in app.tasks if name.startswith("readme_tasks")]:
        app.tasks.unregister(name)


def test_the_lines_for_settings_urls_and_asgi_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}
    exec(IN_SETTINGS, names)  # noqa: S102 (our own README)
    assert names["INSTALLED_APPS"][-1] == "telltale"
    monkeypatch.setitem(settings.DATABASES, "default", names["DATABASES"]["default"])
    assert check_sqlite() == []
    assert callable(import_string(names["MIDDLEWARE"][-1]))
    assert names["urlpatterns"][-1].url_patterns == urlpatterns
    assert names["get_asgi_application"].__module__ == "telltale.asgi"


def test_the_setting_for_a_grown_site_names_a_broker_and_its_command_is_there() -> None:
    names: dict[str, Any] = {}
    exec(GROWN, names)  # noqa: S102 (our own README)
    assert build(names["TELLTALE"]["BROKER"]).reach is Reach.SITE
    [words] = re.findall(r"manage\.py telltale (serve.*?)#", README)
    parsed = Command().create_parser("manage.py", "telltale").parse_args(words.split())
    assert (parsed.subcommand, parsed.processes) == ("serve", 2)


@pytest.mark.django_db
def test_the_lines_for_the_template_render(rf: RequestFactory) -> None:
    page = engines["django"].from_string(IN_TEMPLATE).render(request=rf.get("/"))
    assert 'type="importmap"' in page
    assert "<task-toasts>" in page


@pytest.mark.usefixtures("eager")
@pytest.mark.django_db(transaction=True)
def test_the_celery_lines_run_and_lead_a_browser_to_the_tasks_page(
    pasted: Any, saved: list[str], rf: RequestFactory
) -> None:
    answer = pasted(CELERY).upload(rf.post("/", headers={"Accept": "text/html"}))
    row = TaskState.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/telltale/tasks/{row.pk}/")
    assert (row.state, row.label, saved) == ("succeeded", "Import contacts", ROWS)


@pytest.mark.django_db(transaction=True)
def test_the_lines_for_django_tasks_run_and_lead_to_their_result(pasted: Any, saved: list[str], settings: Any) -> None:
    settings.TASKS = {"default": settings.TASKS["immediate"]}
    telltale.enqueue(pasted(DJANGO_TASKS).import_contacts, 7)
    row = TaskState.objects.get()
    assert (row.state, row.result, saved) == ("succeeded", "/contacts/", ROWS)
