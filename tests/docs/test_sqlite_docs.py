"""docs/sqlite.md: its settings pass the checks, and its task is shown as the page says."""

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

import telltale
from telltale import checks
from telltale.checks.database import SQLITE, SQLITE_TIMEOUT_S
from telltale.conf import Settings
from telltale.live.heard import LATE_BEATS
from telltale.models import TaskState
from telltale.store.saving import SAVED_AT_ONCE
from tests.factories import person
from tests.servers import ROOT
from tests.worker.conftest import assert_eventually

PAGE = (ROOT / "docs" / "sqlite.md").read_text()
SETTINGS, TASKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)

HOLD_AT = 37


class Airport:
    """A model whose rows are groups. The insert of one of them takes until `go_on` is set."""

    def __init__(self) -> None:
        self.is_held, self.go_on = threading.Event(), threading.Event()
        self.objects = SimpleNamespace(create=self.create)
        self.count = 0

    def create(self, name: str) -> None:
        Group.objects.create(name=name)
        self.count += 1
        if self.count == HOLD_AT:
            self.is_held.set()
            assert self.go_on.wait(60)


@pytest.fixture
def airport() -> Iterator[Airport]:
    model = Airport()
    yield model
    model.go_on.set()


@pytest.fixture
def tasks(airport: Airport, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("sqlite_docs_tasks")
    module.__dict__.update(telltale=telltale, transaction=transaction, Airport=airport)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(TASKS, module.__dict__)  # noqa: S102 (our own page)
    return module


def test_the_settings_pass_and_without_each_of_them_the_named_error_is_reported(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {"BASE_DIR": Path("/srv/site")}
    exec(SETTINGS, names)  # noqa: S102 (our own page)
    database = names["DATABASES"]["default"]
    monkeypatch.setitem(settings.DATABASES, "default", database)
    assert checks.check_sqlite() == []
    ids = re.findall(r"^\| .*`(telltale\.E\d+)` \|$", PAGE, re.M)
    broken = [{**database, "OPTIONS": {**database["OPTIONS"], name: 1}} for name in database["OPTIONS"]]
    reported = []
    for changed in [broken[0], broken[2], broken[1], {**database, "ATOMIC_REQUESTS": True}]:
        monkeypatch.setitem(settings.DATABASES, "default", changed)
        reported += [error.id for error in checks.check_sqlite()]
    assert reported == ids


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="Only SQLite has one lock for all writers.")
def test_the_task_in_one_transaction_is_shown_with_every_figure_and_ends_well(tasks: Any, airport: Airport) -> None:
    ada = person("ada")
    client = Client()
    client.force_login(ada)
    task = telltale.enqueue(tasks.import_airports, [f"Airport {n}" for n in range(100)], owner=ada)
    assert airport.is_held.wait(60)
    assert TaskState.objects.get(pk=task.pk).progress.get("current") is None, "it can't be saved"

    def shown() -> dict[str, Any]:
        url = reverse("telltale:task", args=[task.pk])
        return dict(client.get(url, headers={"Accept": "application/json"}).json())

    assert_eventually(lambda: shown()["progress"]["current"] == HOLD_AT - 1)
    assert (shown()["state"], shown()["health"], shown()["progress"]["unit"]) == ("running", "ok", "airports")
    airport.go_on.set()
    assert_eventually(lambda: shown()["state"] == "succeeded")
    assert Group.objects.count() == 100


def test_the_documented_numbers_are_those_of_the_code() -> None:
    settings = Settings()
    assert f"for the first {LATE_BEATS * settings.beat_s:g} s" in PAGE
    assert f'"Lost contact with the worker" after {settings.stalled_s:g} s' in PAGE
    assert f"a save holds at most {SAVED_AT_ONCE} tasks" in PAGE
    assert f"`timeout` of at least {SQLITE_TIMEOUT_S:g} s" in PAGE
    assert f"SQLite {'.'.join(map(str, SQLITE))} or newer" in PAGE
