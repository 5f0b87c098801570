"""The demo's error responses: JSON for programs, a page for browsers, with the same message."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render


def error_response(request: HttpRequest, message: str, *, status: int = 400) -> HttpResponse:
    """Return an error; the page adds that nothing was saved or started."""
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse({"error": message}, status=status)
    return render(request, "demo/refused.html", {"message": message}, status=status)
