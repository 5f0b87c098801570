"""A site with two writable databases and a read replica that lags: tasks are read and written where the users are."""

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT

SETTINGS = """
import os
from pathlib import Path
HERE = Path(__file__).parent

def database(name):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / name, "OPTIONS": {
        "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}}

DATABASES = {"default": database("other.sqlite3"), "main": database("main.sqlite3"),
             "replica": database("replica.sqlite3")}
DATABASE_ROUTERS = ["site_settings.Router"]
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                  "django.contrib.messages", "django.contrib.sessions", "telltale"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware", "telltale.owners.OwnerMiddleware"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
    "context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}]
STATIC_URL = "static/"
TELLTALE = {"DATABASE": "main", "BROKER": "memory://", "RUNNERS": ["thread"]}


class Router:
    # Users are read from the writer, so that the visitor is known; all other reads go to the replica.
    def db_for_read(self, model, **hints):
        return "main" if model._meta.app_label == "auth" else "replica"

    def db_for_write(self, model, **hints):
        return "main"

    def allow_relation(self, first, second, **hints):
        return True

    def allow_migrate(self, db, app_label, **hints):
        return db != "default"
"""

SCRIPT = """
import django
django.setup()
import threading
import time
from contextlib import suppress

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.test import Client
from django.urls import reverse

import telltale
from telltale import store
from telltale.core.topics import user_topic
from telltale.live import tickets
from telltale.models import TaskState

for alias in ("default", "main", "replica"):
    call_command("migrate", database=alias, verbosity=0)
call_command("check", fail_level="ERROR")

def refuse(execute, sql, params, many, context):
    assert "telltale_" not in sql, f"read from another database than the writer: {sql}"
    return execute(sql, params, many, context)

def watch(connection, **more):
    if connection.alias in ("default", "replica"):
        connection.execute_wrappers.append(refuse)

connections.close_all()
connection_created.connect(watch)  # In every thread.

ran = []
fails = threading.Event()

@telltale.tracked(label="Work")
def work(number):
    ran.append(number)
    if fails.is_set():
        raise telltale.TaskError("It failed.")

def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

def state_of(task):
    return TaskState.objects.using("main").get(pk=task.pk).state

ada = User.objects.create_superuser("ada")
client = Client()
client.force_login(ada)

# The transaction that is open decides.
with suppress(ZeroDivisionError), transaction.atomic(using="main"):
    rolled_back = telltale.enqueue(work, 1, owner=ada)
    1 / 0
assert not TaskState.objects.using("main").exists()
with transaction.atomic(using="main"):
    task = telltale.enqueue(work, 2, owner=ada)
    assert ran == [] and state_of(task) == "queued"
wait_for(lambda: state_of(task) == "succeeded")
assert ran == [2]

# Every page, and every action.
def get(url, **headers):
    response = client.get(url, headers={"Accept": "application/json"} | headers)
    assert response.status_code == 200, (url, response.status_code)
    return response

page = reverse("telltale:task", args=[task.pk])
assert get(page).json()["state"] == "succeeded"
assert [found["id"] for found in get(reverse("telltale:tasks")).json()["tasks"]] == [str(task.pk)]
assert "Work" in get("/admin/telltale/taskstate/", Accept="text/html").content.decode()
bearer = {"Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
polled = client.post("/telltale/live/", "{}", "application/json", headers=bearer).json()
assert len(polled["tasks"]) == len(polled["notices"]) == 1, polled
asked = client.post(reverse("telltale:ticket"), {"topics": [f"task:{task.pk}"]}, "application/json")
assert f"task:{task.pk}" in asked.json()["topics"]
fails.set()
failing = telltale.enqueue(work, 3, owner=ada)
wait_for(lambda: state_of(failing) == "failed")
row = store.get_task(failing.pk)
again = telltale.retry(row)
assert (again.attempt, again.ended_at is None or again.state == "failed") == (2, True), (again.attempt, again.state)
wait_for(lambda: ran == [2, 3, 3])
with suppress(TaskState.DoesNotExist):  # The replica lags: a read through the router finds nothing.
    connections["replica"].ensure_connection()
    connections["replica"].execute_wrappers.clear()
    TaskState.objects.get(pk=task.pk)
    raise AssertionError("the replica does not lag")
answer = client.post(reverse("telltale:cancel", args=[task.pk]), headers={"Accept": "application/json"})
assert answer.status_code == 409
telltale.notify(ada, "Hello")
store.prune()
print("all on the writer")
"""


def test_f28_everything_of_telltale_is_read_from_the_writer_in_the_transaction_that_is_open(tmp_path: Path) -> None:
    (tmp_path / "site_settings.py").write_text(SETTINGS)
    path = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "site_settings"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.endswith("all on the writer\n"), done.stdout + done.stderr
