"""Settings of the tests, and of the worker processes that the tests start.

Worker processes share the test's database by `TELLTALE_TEST_DB` (a path) and its short leases by the other
variables, so that a test can say how long a lease is and kill a real process that holds one.
"""

import os
import tempfile
from pathlib import Path

from django import VERSION as DJANGO_VERSION

_name = os.environ.get("TELLTALE_TEST_DB") or str(Path(tempfile.gettempdir()) / f"telltale-test-{os.getpid()}.sqlite3")

SECRET_KEY = "tests-only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
SESSION_ENGINE = "django.contrib.sessions.backends.db"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _name,
        "TEST": {"NAME": _name},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

BUILT_IN_TASKS = DJANGO_VERSION >= (6, 0)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    *([] if BUILT_IN_TASKS else ["django_tasks"]),
    "django_tasks_db",
    "telltale",
    "tests.app",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "telltale.owners.OwnerMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

_tasks = "django.tasks" if BUILT_IN_TASKS else "django_tasks"
TASKS = {
    "default": {"BACKEND": "django_tasks_db.DatabaseBackend"},
    "immediate": {"BACKEND": f"{_tasks}.backends.immediate.ImmediateBackend"},
}

_DURATIONS = ("BEAT_S", "STALLED_S", "LEASE_S", "QUIET_S", "SAVE_EVERY_S", "END_PATIENCE_S")
TELLTALE = {
    "BROKER": os.environ.get("TELLTALE_BROKER", "memory://"),
    **{key: float(os.environ[f"TELLTALE_{key}"]) for key in _DURATIONS if f"TELLTALE_{key}" in os.environ},
}

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:1/0")
