"""Saves an uploaded file and queues its import: both, or neither."""

from pathlib import PurePath
from uuid import uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

import telltale
from demo.airports import files, tasks
from demo.airports.models import Upload
from telltale.models import TaskState
from telltale.owners import Owner


def queue(request: HttpRequest, file: UploadedFile) -> TaskState:
    """Save the file and queue its import; raises `files.Unreadable` and then saves nothing."""
    pk = uuid4()
    path = settings.UPLOADS / f"{pk}.csv"
    encoding = files.save(file, path)
    filename = PurePath(file.name or "airports.csv").name[:200]
    owner = Owner.of(request, create_session=True)
    upload = Upload.objects.create(
        pk=pk, filename=filename, path=str(path), encoding=encoding, owner_topic=owner.topic or ""
    )
    try:
        return telltale.enqueue(tasks.import_airports, str(pk), owner=owner, label=f"Import {filename}")
    except BaseException:
        upload.delete()
        path.unlink()
        raise
