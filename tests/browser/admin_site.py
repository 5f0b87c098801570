"""A site with an admin full of tasks, in Django's own look or that of django-unfold: for the pictures and their test.

It runs in a process of its own, because unfold replaces the templates of the admin. `python -m` serves it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.ports import free_port

LOOKS: Final = ("django", "unfold")
PAGES: Final = {"list": "", "story": "{task}/change/", "workers": "workers/", "durations": "durations/"}
ADMIN: Final = "/admin/telltale/taskstate/"
LEASE_S: Final = 100_000
"""So long that no task is lost while the site is looked at."""


@dataclass(frozen=True, kw_only=True)
class AdminSite:
    """The running site. `session`: the key of a session of a superuser; `task`: the id of a task with attempts."""

    url: str
    session: str
    task: str

    def cookie(self) -> Any:
        """The cookie of the session, for a browser's context."""
        return {"name": "sessionid", "value": self.session, "url": self.url}

    def path(self, name: str) -> str:
        """The address of one of `PAGES`."""
        return ADMIN + PAGES[name].format(task=self.task)


@contextmanager
def admin_site(directory: Path, look: str) -> Iterator[AdminSite]:
    """Serve the site until the block ends."""
    port = free_port()
    env = os.environ | {"TELLTALE_TEST_DB": str(directory / f"{look}.sqlite3"), "TELLTALE_LEASE_S": str(LEASE_S)}
    env |= {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-m", __name__, look, str(port)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield AdminSite(url=f"http://127.0.0.1:{port}", **json.loads(process.stdout.readline()))
        finally:
            process.kill()


def serve(look: str, port: int) -> None:
    """Fill a new database, print what `AdminSite` needs to know, and serve."""
    from tests import settings

    if look == "unfold":
        settings.INSTALLED_APPS.insert(0, "unfold")

    import django

    django.setup()

    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    call_command("migrate", verbosity=0)
    values = _fill()
    server = ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
    server.serve_forever()


def _fill() -> dict[str, str]:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore

    from telltale import store
    from telltale.owners import Owner

    ada = get_user_model().objects.create_superuser("ada")
    now, owner = store.now(), Owner(user_id=ada.pk)
    task = _with_attempts(owner, now)
    for number, (host, steps) in enumerate([("web-1", 60), ("web-2", 25), ("web-2", 40)]):
        _running(owner, now, label=f"Send letters to group {number + 1}", worker=f"{host}:{4_710 + number}", done=steps)
    _past(now)
    session = SessionStore()
    session.update({SESSION_KEY: str(ada.pk), BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend"})
    session[HASH_SESSION_KEY] = ada.get_session_auth_hash()
    session.save()
    return {"session": str(session.session_key), "task": task}


def _with_attempts(owner: Any, now: float) -> str:
    """A task whose worker was lost, which then failed twice, and runs again."""
    from telltale import store
    from telltale.core.states import State

    queued: dict[str, Any] = {"runner": "celery", "name": "shop.tasks.import_airports", "label": "Import airports.csv"}
    task = store.queue(**queued, owner=owner, args=["airports.csv"], queue_name="imports", now=now - 1_200).task
    store.claim(task_id=task.pk, worker="web-1:4709", now=now - 1_180)
    store.end(task.pk, 1, State.LOST, now=now - 1_000)
    store.requeue(task.pk, now=now - 900)
    store.claim(task_id=task.pk, worker="web-2:4708", now=now - 880)
    store.set_retrying(task.pk, 2, error="The file server did not answer.", now=now - 760)
    store.claim(task_id=task.pk, worker="web-2:4708", now=now - 700)
    detail = "Traceback (most recent call last):\nValueError: could not convert '' to float"
    store.end(task.pk, 3, State.FAILED, error="Line 17 has no latitude.", detail=detail, now=now - 600)
    store.requeue(task.pk, now=now - 200)
    claim = store.claim(task_id=task.pk, worker="web-1:4709", now=now - 190)
    assert isinstance(claim, store.Claim)
    _report(claim, 44, unit="airports", stage_times=[["Download", 1, 12.4], ["Read", 3, 41.0], ["Save", 1, 96.2]])
    return str(task.pk)


def _running(owner: Any, now: float, *, label: str, worker: str, done: int) -> None:
    from telltale import store

    named: dict[str, Any] = {"runner": "celery", "name": "shop.tasks.send_letters", "queue_name": "letters"}
    task = store.queue(**named, label=label, owner=owner, now=now - 100).task
    claim = store.claim(task_id=task.pk, worker=worker, now=now - 95)
    assert isinstance(claim, store.Claim)
    _report(claim, done, unit="letters")


def _report(claim: Any, percent: int, *, unit: str, stage_times: list[Any] | None = None) -> None:
    from telltale import store
    from telltale.core.snapshot import Progress

    progress = Progress(fraction=percent / 100, current=10 * percent, total=1_000, unit=unit)
    report = store.Report(id=claim.id, attempt=claim.attempt, seq=9, progress=progress, stage_times=stage_times)
    store.save([replace(report, moved_at=store.now())])


def _past(now: float) -> None:
    """Some thousand runs of a week, the same each time."""
    from telltale.models import TaskState

    random, rows = Random(4), []
    usual = {"import_airports": 40, "send_letters": 300, "rebuild_index": 1_200, "export_invoices": 5}
    for _number in range(1_500):
        name = random.choice([*usual])
        ended_at = now - random.uniform(600, 7 * 86_400)
        took_s = usual[name] * random.lognormvariate(0, 0.35) * (1.5 - (now - ended_at) / 14 / 86_400)
        state = "failed" if random.random() < 0.04 else "succeeded"
        times = {"created_at": ended_at - took_s - 2, "started_at": ended_at - took_s, "ended_at": ended_at}
        named = {"runner": "celery", "name": f"shop.tasks.{name}", "label": name.replace("_", " ").capitalize()}
        rows.append(TaskState(state=state, worker="web-1:4709", **named, **times))
    TaskState.objects.bulk_create(rows, batch_size=500)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
