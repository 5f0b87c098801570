"""The demo as an ASGI application: Telltale's live transports, Django, and static files."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from telltale.asgi import get_asgi_application

application = ASGIStaticFilesHandler(get_asgi_application())
