"""How the demo says no: JSON for programs, a page for people, the same words for both."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render


def refused(request: HttpRequest, words: str, *, status: int = 400) -> HttpResponse:
    """An answer of that status that says `words`; nothing was kept and nothing was queued."""
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse({"error": words}, status=status)
    return render(request, "demo/refused.html", {"words": words}, status=status)
