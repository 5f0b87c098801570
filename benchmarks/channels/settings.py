"""Settings of the measured processes. BENCH_DIRECTORY has the database; BENCH_BROKER and BENCH_LAYER are measured."""

import os

SECRET_KEY = os.environ["BENCH_SECRET"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.contenders.telltale_site.urls"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ["BENCH_DIRECTORY"], "site.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "telltale"]
MIDDLEWARE = ["telltale.owners.OwnerMiddleware"]

# Without a time limit: with that of redis-py 8, 5 s, RedisChannelLayer's consumers fail when nothing comes for so long.
HOST = {"address": os.environ["BENCH_REDIS"], "socket_timeout": None}
CHANNEL_LAYERS = {"default": {"BACKEND": os.environ["BENCH_LAYER"], "CONFIG": {"hosts": [HOST]}}}

TELLTALE = {"BROKER": os.environ["BENCH_BROKER"], "CAN_FOLLOW": "benchmarks.channels.settings.may_follow"}


def may_follow(_request: object, _topic: str) -> bool:
    """Every visitor may follow every topic."""
    return True
