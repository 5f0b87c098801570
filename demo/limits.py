"""Refuses a request that is too large by its own word, before any of it is parsed."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from demo.answers import refused

FORM_BYTES = 64 * 1024
"""What a form may add to the file that it carries."""


class UploadLimit:
    """Before everything that reads `request.POST`, which would parse the whole upload first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        size = int(request.META.get("CONTENT_LENGTH") or 0)
        if size <= settings.MAX_UPLOAD_BYTES + FORM_BYTES:
            return self.get_response(request)
        mib = 1024 * 1024
        return refused(
            request,
            f"The upload has {size / mib:,.0f} MB; at most {settings.MAX_UPLOAD_BYTES // mib} MB are taken. "
            "Split the file, and import its parts one by one.",
            status=413,
        )
