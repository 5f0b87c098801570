"""The settings of the example: SQLite, daphne, channels_redis, Telltale.

`run.py` sets the environment variables: `EXAMPLE_DIR` for the database, `REDIS_URL` for the channel layer.
"""

import os
from pathlib import Path

HERE = Path(__file__).parent
DIR = Path(os.environ.get("EXAMPLE_DIR") or HERE.parent)

SECRET_KEY = "an-example-needs-no-secret"  # noqa: S105
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
STATIC_URL = "static/"
LOGIN_URL = "home"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DIR / "example.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"},
    }
}

# redis-py 8 gives up after 5 s by default, which is as long as channels_redis waits for a message: idle sockets and
# workers would end with a TimeoutError.
REDIS = {"address": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), "socket_timeout": 30}

CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS]}},
}

# Telltale's messages travel through the same channel layer. The times are shorter than the defaults, so that a killed
# worker shows within seconds.
TELLTALE = {"BROKER": "channels://default", "BEAT_S": 2.0, "STALLED_S": 6.0, "LEASE_S": 15.0}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "telltale",
    "project",
    "by_hand",
    "with_telltale",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
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
                "project.views.context",
            ]
        },
    }
]
