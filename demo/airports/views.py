"""The demo's pages. Every piece of work answers at once, by `telltale.accepted`."""

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
from demo.answers import refused
from telltale.owners import Owner

SHOWN = 20
"""Airports on an import's page."""


@require_GET
@ensure_csrf_cookie
def home(request: HttpRequest) -> HttpResponse:
    """What there is to try."""
    return render(request, "demo/home.html")


@require_POST
def imports(request: HttpRequest) -> HttpResponseBase:
    """Takes the CSV in field `file`; 202 for programs, 303 to the task's page for browsers."""
    file = request.FILES.get("file")
    if file is None:
        return refused(request, "There is no file. Send one as multipart/form-data, in the field “file”.")
    try:
        task = uploads.queue(request, file)
    except files.Unreadable as error:
        return refused(request, str(error))
    return telltale.accepted(request, task)


@require_GET
def import_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What an import has made; not there and not yours look alike."""
    upload = Upload.objects.filter(pk=pk, owner_topic=Owner.of(request).topic or "nobody").first()
    if upload is None:
        raise Http404("There is no such import, or it is not yours.")
    airports = Airport.objects.filter(upload=upload, run=upload.run)
    shown = airports.order_by("row").prefetch_related("neighbours__other")[:SHOWN]
    return render(request, "demo/import.html", {"upload": upload, "count": airports.count(), "airports": shown})


@require_GET
def sample(request: HttpRequest, name: str) -> StreamingHttpResponse:
    """A file to try the import with."""
    if name not in samples.ALL:
        raise Http404(f"There is no such file; there are {', '.join(samples.ALL)}.")
    return StreamingHttpResponse(
        samples.ALL[name](),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


@require_POST
def run(request: HttpRequest, name: str) -> HttpResponseBase:
    """One of the other tasks."""
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
    raise Http404("There is no such task; there are import, bad-row, hop and slow.")


@require_POST
def kill_the_worker(request: HttpRequest) -> HttpResponse:
    """SIGKILL, as an out-of-memory killer would: no goodbye. Its supervisor starts another."""
    try:
        os.kill(int(settings.WORKER_PID.read_text()), signal.SIGKILL)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return refused(request, "There is no worker to kill just now; another will be there in a second.", status=409)
    back = request.headers.get("Referer", "")
    return redirect(back if back.startswith(f"{request.scheme}://{request.get_host()}/") else "home")
