"""Settings. BENCH_DIRECTORY contains the database, BENCH_REDIS is the broker: see `contenders/telltale.py`."""

import os
import secrets

SECRET_KEY = os.environ.get("BENCH_SECRET") or secrets.token_hex()
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.contenders.telltale_site.urls"

# Without BENCH_DIRECTORY, as in the simulation that only imports the live server, no file is written.
BENCH_DIRECTORY = os.environ.get("BENCH_DIRECTORY")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(BENCH_DIRECTORY, "site.sqlite3") if BENCH_DIRECTORY else ":memory:",
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
    *(["benchmarks.contenders.telltale_site.unpaced.Unpaced"] if os.environ.get("BENCH_UNPACED") else []),
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "telltale.owners.OwnerMiddleware",
]

# A fixed prefix: the default depends on the database, and recorded messages are repeated in other runs.
# Unsigned, because the load generator puts new numbers into them; so they are checked, which costs more than verifying.
TELLTALE = {
    "BROKER": os.environ["BENCH_REDIS"] + "?prefix=bench:",
    "CONNECTIONS_PER_ADDRESS": 50_000,
    "SIGN_MESSAGES": False,
}
if os.environ.get("BENCH_PUSHER"):
    TELLTALE["PUSHER_APPS"] = [{"ID": "1", "KEY": "bench", "SECRET": SECRET_KEY}]
