"""The demo's views. Each view that starts a task responds at once, with `telltale.accepted`."""

import os
import signal
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

import telltale
from demo.airports import files, samples, tasks, uploads
from demo.airports.models import Airport, Upload
from demo.responses import error_response
from telltale.owners import Owner

SHOWN_AIRPORTS = 20
"""Airports that an import's page lists."""


@require_GET
@ensure_csrf_cookie
def home(request: HttpRequest) -> HttpResponse:
    """The start page: an upload form and four examples."""
    return render(request, "demo/home.html")


@require_POST
def imports(request: HttpRequest) -> HttpResponseBase:
    """Import the CSV file in field `file`: 202 for programs, 303 to the task's page for browsers."""
    file = request.FILES.get("file")
    if file is None:
        return error_response(request, "No file was sent. Send one as multipart/form-data in the field “file”.")
    try:
        task = uploads.queue(request, file)
    except files.Unreadable as error:
        return error_response(request, str(error))
    return telltale.accepted(request, task)


@require_GET
def import_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The imported airports. An unknown import and one of another owner get the same 404."""
    upload = Upload.objects.filter(pk=pk, owner_topic=Owner.of(request).topic or "no owner").first()
    if upload is None:
        raise Http404("This import doesn't exist, or it isn't yours.")
    airports = Airport.objects.filter(upload=upload, run=upload.run)
    shown = airports.order_by("row").prefetch_related("neighbours__other")[:SHOWN_AIRPORTS]
    return render(request, "demo/import.html", {"upload": upload, "count": airports.count(), "airports": shown})


@require_GET
def sample(request: HttpRequest, name: str) -> StreamingHttpResponse:
    """Download a sample file."""
    if name not in samples.ALL:
        raise Http404(f"There is no sample {name!r}, only {', '.join(samples.ALL)}.")
    return StreamingHttpResponse(
        samples.ALL[name](),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


@require_POST
def run(request: HttpRequest, name: str) -> HttpResponseBase:
    """Start one of the examples."""
    if name == "bad-row":
        text = "".join(samples.bad()).encode()
        return telltale.accepted(request, uploads.queue(request, SimpleUploadedFile("bad.csv", text)))
    if name == "import":
        text = "".join(samples.airports()).encode()
        return telltale.accepted(request, uploads.queue(request, SimpleUploadedFile("airports.csv", text)))
    if name == "hop":
        return telltale.accepted(request, telltale.enqueue(tasks.hop, tasks.REACH_KM))
    if name == "slow":
        return telltale.accepted(request, telltale.enqueue(tasks.measure, tasks.SLOW_COUNT))
    raise Http404(f"There is no example {name!r}, only import, bad-row, hop and slow.")


@require_POST
def kill_the_worker(request: HttpRequest) -> HttpResponse:
    """Send SIGKILL to the worker, as the kernel does when memory runs out. The supervisor starts another worker."""
    try:
        os.kill(int(settings.WORKER_PID.read_text()), signal.SIGKILL)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return error_response(request, "There is no worker to kill now. Try again in a second.", status=409)
    referer = request.headers.get("Referer", "")
    return redirect(referer if referer.startswith(f"{request.scheme}://{request.get_host()}/") else "home")
