"""The import in two stages: read and check every row, then find each airport's nearest neighbours.

Writes in batches, each in a short transaction: SQLite allows one writer at a time, and the web server and Telltale's
reporter write as well.
"""

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from django.db import transaction
from django.db.models import F

import telltale
from demo.airports import files, globe, rows
from demo.airports.models import Airport, Neighbour, Upload

Item = TypeVar("Item")

BATCH = 250
NEIGHBOURS = 5


def begin(upload_id: str) -> Upload:
    """Start a new run of the import: return the upload with the run's number, and delete the rows of older runs."""
    Upload.objects.filter(pk=upload_id).update(run=F("run") + 1, is_complete=False)
    upload = Upload.objects.get(pk=upload_id)
    _delete_other_runs(upload)
    return upload


def finish(upload: Upload) -> bool:
    """Whether this run is still the newest. If so, mark the import as complete and delete the rows of other runs."""
    newest = Upload.objects.filter(pk=upload.pk, run=upload.run)
    if not newest.update(is_complete=True):
        return False
    _delete_other_runs(upload)
    return True


def read(upload: Upload) -> int:
    """Check and save every row; return their number."""
    path = Path(upload.path)
    numbered = enumerate(files.lines(path, upload.encoding), start=2)  # the header is line 1
    total = files.count_lines(path)
    airports = (
        rows.airport(row, number=number, upload_id=upload.pk, run=upload.run)
        for number, row in telltale.progress(numbered, total=total, unit="rows", message="Reading and checking rows")
    )
    try:
        return sum(len(Airport.objects.bulk_create(batch)) for batch in _batches(airports))
    except files.Unreadable as error:
        raise telltale.TaskError(str(error)) from error


def connect(upload: Upload) -> None:
    """Find and save the nearest neighbours of every airport of this run."""
    airports = Airport.objects.filter(upload=upload, run=upload.run)
    places = {
        pk: globe.vector(latitude, longitude)
        for pk, latitude, longitude in airports.order_by("pk").values_list("pk", "latitude", "longitude")
    }
    grid = globe.Grid(places.items())
    # In random order: airports in dense regions take longer, and together they would distort the time left.
    order = random.sample(list(places), len(places))
    neighbours = (
        Neighbour(airport_id=pk, other_id=other, rank=rank, distance_km=globe.km(chord))
        for pk in telltale.progress(order, unit="airports", message="Finding the nearest airports")
        for rank, (chord, other) in enumerate(grid.nearest(places[pk], NEIGHBOURS, exclude=pk), start=1)
    )
    for batch in _batches(neighbours):
        Neighbour.objects.bulk_create(batch)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _delete_other_runs(upload: Upload) -> None:
    """Delete the rows of other runs of this import."""
    others = Airport.objects.filter(upload=upload).exclude(run=upload.run)
    with transaction.atomic():
        Neighbour.objects.filter(airport__in=others).delete()
        others.delete()
