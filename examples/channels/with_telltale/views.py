"""The pages of the version with Telltale."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

import telltale.channels
from telltale.models import TaskState

PAGES = 40


@login_required
@require_POST
def new_report(request: HttpRequest) -> HttpResponse:
    """Start the task, and lead the user to its page. The task's UUID is in the path."""
    task = telltale.channels.send("telltale-report", "build.report", PAGES)
    return redirect("with-telltale:report", task.pk)


@login_required
def report(request: HttpRequest, process: UUID) -> HttpResponse:
    """Show the task of one process, by Telltale's elements."""
    task = get_object_or_404(TaskState, pk=process, owner=request.user)
    return render(request, "with_telltale/report.html", {"task": task})


@login_required
def own_socket(request: HttpRequest, process: UUID) -> HttpResponse:
    """Show the same task by the project's own socket and script."""
    return render(request, "with_telltale/own_socket.html", {"process": process})
