"""Static files in development, under servers that do not serve them. Used by `asgi.py` under DEBUG."""

import posixpath

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousFileOperation


class StaticFiles(ASGIStaticFilesHandler):
    """Django's handler, but only for files that exist: a site may serve others below STATIC_URL with its own views."""

    def _should_handle(self, path: str) -> bool:
        if not super()._should_handle(path):
            return False
        try:
            return bool(finders.find(posixpath.normpath(self.file_path(path)).lstrip("/")))
        except SuspiciousFileOperation:
            return False
