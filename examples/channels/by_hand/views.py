"""The pages of the version by hand."""

from uuid import UUID, uuid4

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST


@login_required
@require_POST
def new_report(request: HttpRequest) -> HttpResponse:
    """Lead the user to the page of a new process. Its UUID is in the path, and so in the name of its group."""
    return redirect("by-hand:report", uuid4())


@login_required
def report(request: HttpRequest, process: UUID) -> HttpResponse:
    """Show the page that starts one process and shows its status messages."""
    return render(request, "by_hand/report.html", {"process": process})
