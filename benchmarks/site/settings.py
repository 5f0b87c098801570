"""Its settings. BENCH_DIRECTORY holds its database, BENCH_REDIS is its broker; see `contenders/telltale.py`."""

import os
import secrets

SECRET_KEY = os.environ.get("BENCH_SECRET") or secrets.token_hex()
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.site.urls"

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

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "telltale",
    *(["benchmarks.site.unpaced.Unpaced"] if os.environ.get("BENCH_UNPACED") else []),
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "telltale.owners.OwnerMiddleware",
]

# The same prefix wherever the database is, so that what was recorded once can be said again.
TELLTALE = {"BROKER": os.environ["BENCH_REDIS"] + "?prefix=bench:", "CONNECTIONS_PER_ADDRESS": 50_000}
