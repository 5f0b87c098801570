"""django-eventstream with its Redis listener. Each topic is a channel, as in its guide.

Run by uvicorn. `python -m benchmarks.contenders.peer_apps.eventstream_app TOPIC TEXT` publishes with `send_event`.
"""

import os
import secrets
import sys
from urllib.parse import urlsplit

import django
from django.conf import settings

redis = urlsplit(os.environ["BENCH_REDIS"])
settings.configure(
    SECRET_KEY=secrets.token_hex(),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_eventstream"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    EVENTSTREAM_REDIS={"host": redis.hostname, "port": redis.port, "db": 0},
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402  (needs the settings)
from django.urls import include, path  # noqa: E402
from django_eventstream import send_event  # noqa: E402
from django_eventstream import urls as eventstream_urls  # noqa: E402

urlpatterns = [path("live/<topic>", include(eventstream_urls), {"format-channels": ["{topic}"]})]

app = get_asgi_application()

if __name__ == "__main__":
    send_event(sys.argv[1], "update", sys.argv[2], json_encode=False)
