"""Static files in development, under servers that know nothing of them. Used by `asgi.py` where DEBUG is on."""

import posixpath

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousFileOperation


class StaticFiles(ASGIStaticFilesHandler):
    """Django's handler, for files that are there alone: a site may serve others below STATIC_URL by itself."""

    def _should_handle(self, path: str) -> bool:
        if not super()._should_handle(path):
            return False
        try:
            return bool(finders.find(posixpath.normpath(self.file_path(path)).lstrip("/")))
        except SuspiciousFileOperation:
            return False
