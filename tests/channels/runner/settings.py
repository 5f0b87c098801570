"""Settings of the worker processes of these tests: those of all tests, with a channel layer and its application."""

import os

from tests.channels.runner.layers import layer, pubsub_layer
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "channels"]
ASGI_APPLICATION = "tests.app.channels_tasks.application"


URLS = [os.environ[name] for name in ("TELLTALE_TEST_LAYER", "TELLTALE_TEST_LAYER_2") if name in os.environ]
CHANNEL_LAYERS = {
    "default": pubsub_layer(*URLS)
    if "TELLTALE_TEST_PUBSUB" in os.environ
    else layer(*URLS, expiry_s=int(os.environ.get("TELLTALE_TEST_EXPIRY_S", "60"))),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {name: {"handlers": ["console"], "level": "INFO"} for name in ("django.channels", "telltale")},
}
