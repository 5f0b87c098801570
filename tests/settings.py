"""Settings of the tests, and of the worker processes that the tests start.

Worker processes share the test's database by `TELLTALE_TEST_DB` (a path) and its short leases by the other
variables, so that a test can say how long a lease is and kill a real process that holds one.
"""

import os
from typing import Any

from django import VERSION as DJANGO_VERSION

from tests.ports import free_port
from tests.scratch import scratch_directory

SCRATCH = scratch_directory()

_name = os.environ.get("TELLTALE_TEST_DB") or str(SCRATCH / f"test-{os.getpid()}.sqlite3")

# Shared with worker processes: django-q2's clusters report there.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(SCRATCH / "cache"),
    }
}

SECRET_KEY = "tests-only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
SESSION_ENGINE = "django.contrib.sessions.backends.db"

SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": _name,
    "TEST": {"NAME": _name},
    "CONN_MAX_AGE": int(os.environ.get("TELLTALE_TEST_CONN_MAX_AGE", "0")),
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}


def _on_server(engine: str, port: str, **options: object) -> dict[str, object]:
    """A database on a server that `tests.servers` has started; the tests' own one begins with `test_`."""
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": os.environ.get("TELLTALE_TEST_DB") or options.pop("name"),
        "TEST": {"NAME": "test_telltale"},
        "USER": "telltale",
        "PASSWORD": "telltale",
        "HOST": "127.0.0.1",
        "PORT": port,
        **options,
    }


POSTGRES, MARIADB = os.environ.get("TELLTALE_TEST_POSTGRES"), os.environ.get("TELLTALE_TEST_MARIADB")
if POSTGRES:
    DATABASES: dict[str, Any] = {"default": _on_server("postgresql", POSTGRES, name="postgres")}
elif MARIADB:
    import pymysql

    pymysql.install_as_MySQLdb()
    DATABASES = {"default": _on_server("mysql", MARIADB, name="mysql", OPTIONS={"isolation_level": "read committed"})}
else:
    DATABASES = {"default": SQLITE}

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
    "django_rq",
    "django_dramatiq",
    "huey.contrib.djhuey",
    "django_q",
    "django_celery_results",
    *(["procrastinate.contrib.django"] if POSTGRES else []),
    "telltale",
    "telltale.pusher",
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
    "default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default", "reports"]},
    "immediate": {"BACKEND": f"{_tasks}.backends.immediate.ImmediateBackend"},
    "dummy": {"BACKEND": f"{_tasks}.backends.dummy.DummyBackend"},
}

_DURATIONS = ("BEAT_S", "STALLED_S", "LEASE_S", "QUIET_S", "SAVE_EVERY_S", "END_RETRY_S", "POLL_S")
TELLTALE = {
    "BROKER": os.environ.get("TELLTALE_BROKER", "memory://"),
    "FOLLOW": {"*.follow_me": "Something of another package"},
    **{key: float(os.environ[f"TELLTALE_{key}"]) for key in _DURATIONS if f"TELLTALE_{key}" in os.environ},
}


# Where a fixture starts it, if a test asks for it; else nobody is there. Worker processes inherit the address.
REDIS_URL = os.environ.setdefault("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

RQ_QUEUES = {"default": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 60}}

DRAMATIQ_BROKER = {
    "BROKER": "dramatiq.brokers.redis.RedisBroker",
    "OPTIONS": {"url": REDIS_URL, "heartbeat_timeout": 3_000, "maintenance_chance": 1_000_000},
    "MIDDLEWARE": [
        "telltale.runners.dramatiq.TelltaleMiddleware",
        "dramatiq.middleware.AgeLimit",
        "dramatiq.middleware.TimeLimit",
        "dramatiq.middleware.ShutdownNotifications",
        "dramatiq.middleware.Callbacks",
        "dramatiq.middleware.AsyncIO",
        "dramatiq.middleware.Pipelines",
        "dramatiq.middleware.Retries",
        "django_dramatiq.middleware.DbConnectionsMiddleware",
    ],
}
DRAMATIQ_AUTODISCOVER_MODULES = ["dramatiq_tasks"]

_huey_storage = os.environ.get("TELLTALE_HUEY", str(SCRATCH / f"huey-{os.getpid()}"))
HUEY = {
    "huey_class": "huey.RedisHuey" if _huey_storage.startswith("redis:") else "huey.SqliteHuey",
    "name": "tests",
    "immediate": False,
    "connection": {"url": _huey_storage} if _huey_storage.startswith("redis:") else {"filename": _huey_storage},
    "consumer": {
        "workers": 2,
        "worker_type": "thread",
        "initial_delay": 0.05,
        "max_delay": 0.1,
        "graceful_signal": "TERM",
    },
}

Q_CLUSTER = {
    "name": "tests",
    "orm": "default",
    "workers": 2,
    "timeout": 7,
    "retry": 8,
    "poll": 0.1,
    "guard_cycle": 0.1,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 100,
    "label": "tests",
}

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "procrastinate_tasks"
PROCRASTINATE_WORKER_DEFAULTS = {"fetch_job_polling_interval": 0.1}

# Django 6.1 asks for it.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

# Hundreds of tests have users with a password, and a hash that resists guessing takes a third of a second.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
