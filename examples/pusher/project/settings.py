"""The settings of the example: SQLite, Django's tasks, and the stand-in for Pusher.

`run.py` sets the environment variables: `EXAMPLE_DIR` for the database, `PORT` of the web server.
"""

import os
from pathlib import Path

import django

HERE = Path(__file__).parent
DIR = Path(os.environ.get("EXAMPLE_DIR") or HERE.parent)
HAS_TASKS = django.VERSION >= (6, 0)

SECRET_KEY = "an-example-needs-no-secret"  # noqa: S105
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "project.urls"
LOGIN_URL = "home"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DIR / "example.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"},
    }
}

# One app of the stand-in. The hosted service gives each app the same three values.
PUSHER = {"ID": "1", "KEY": "example-key", "SECRET": "example-secret"}
PUSHER_PORT = int(os.environ.get("PORT", "8000"))
# One web process serves all clients, and the worker publishes by HTTP, so no process must hear another.
TELLTALE = {"PUSHER_APPS": [PUSHER], "BROKER": "memory://"}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    *([] if HAS_TASKS else ["django_tasks"]),
    "django_tasks_db",
    "telltale",
    "project",
]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "telltale.owners.OwnerMiddleware",
]

STATIC_URL = "static/"
STATICFILES_DIRS = [
    # pusher-js as npm installs it, and the look of the other example.
    ("pusher", Path(os.environ.get("PUSHER_JS") or HERE.parent / "node_modules" / "pusher-js") / "dist" / "web"),
    HERE.parents[1] / "channels" / "project" / "static",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
