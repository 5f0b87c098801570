"""Settings of the demo: one SQLite file, two processes, no other service. `DEMO_DIR` is the directory of its files."""

import os
from pathlib import Path

from django import VERSION as DJANGO_VERSION

DIR = Path(os.environ.get("DEMO_DIR") or Path(__file__).parent.parent / "var" / "demo").resolve()
HERE = Path(__file__).parent
UPLOADS = DIR / "uploads"
WORKER_PID = DIR / "worker.pid"
UPLOADS.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "the-demo-keeps-no-secrets"  # noqa: S105 (the server listens on this machine only)
DEBUG = bool(os.environ.get("DEMO_DEBUG"))
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *os.environ.get("DEMO_HOSTS", "").split()]
ROOT_URLCONF = "demo.urls"
STATIC_URL = "static/"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DIR / "db.sqlite3",
        "OPTIONS": {
            # Web server and worker write to one file. With WAL readers never wait. With IMMEDIATE a writer waits
            # at the start of its transaction instead of failing in the middle.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

BUILT_IN_TASKS = DJANGO_VERSION >= (6, 0)
BUILT_IN_CSP = DJANGO_VERSION >= (6, 0)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    *([] if BUILT_IN_TASKS else ["django_tasks"]),
    "django_tasks_db",
    "telltale",
    "demo.airports",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware" if BUILT_IN_CSP else "demo.csp.ContentSecurityPolicy",
    "demo.limits.UploadLimit",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "telltale.owners.OwnerMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                *(["django.template.context_processors.csp"] if BUILT_IN_CSP else []),
                "django.contrib.auth.context_processors.auth",
                "demo.people.context",
            ]
        },
    }
]
STATICFILES_DIRS = [HERE / "static"]

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

# Shorter than the defaults, so that a killed worker shows within seconds.
TELLTALE: dict[str, object] = {"BEAT_S": 2.0, "STALLED_S": 6.0, "LEASE_S": 15.0, "QUIET_S": 20.0}
if "DEMO_SOCKETS" in os.environ:
    TELLTALE["BROKER"] = f"local://{os.environ['DEMO_SOCKETS']}"

if BUILT_IN_CSP:
    from django.utils.csp import CSP

    SECURE_CSP = {
        "default-src": [CSP.SELF],
        "script-src": [CSP.SELF, CSP.NONCE],
        "img-src": [CSP.SELF, "data:"],
        "object-src": [CSP.NONE],
        "base-uri": [CSP.NONE],
        "form-action": [CSP.SELF],
        "frame-ancestors": [CSP.NONE],
    }

FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
MAX_UPLOAD_BYTES = 64 * 1024 * 1024

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
