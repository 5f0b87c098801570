"""Refuses a request whose Content-Length is too large, before its body is parsed."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from demo.responses import error_response

FORM_BYTES = 64 * 1024
"""Allowance for the form around the uploaded file."""


class UploadLimit:
    """Middleware. Must come before all that read `request.POST`, since that parses the whole upload."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        size = int(request.META.get("CONTENT_LENGTH") or 0)
        if size <= settings.MAX_UPLOAD_BYTES + FORM_BYTES:
            return self.get_response(request)
        mib = 1024 * 1024
        return error_response(
            request,
            f"The upload has {size / mib:,.0f} MB; at most {settings.MAX_UPLOAD_BYTES // mib} MB are allowed. "
            "Split the file and import each part.",
            status=413,
        )
