"""The import itself, in two stages: read and check every row, then find each airport's nearest neighbours.

Writes in batches, each in a short transaction: SQLite has one writer at a time, and the web server and
Telltale's reporter also want a turn.
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
    """The upload with the number of this run, the newest; what older runs have left is swept away."""
    Upload.objects.filter(pk=upload_id).update(run=F("run") + 1, is_complete=False)
    upload = Upload.objects.get(pk=upload_id)
    _sweep(upload)
    return upload


def finish(upload: Upload) -> bool:
    """Whether this run is still the newest and so its rows are the import; then what others left is swept away."""
    newest = Upload.objects.filter(pk=upload.pk, run=upload.run)
    if not newest.update(is_complete=True):
        return False
    _sweep(upload)
    return True


def read(upload: Upload) -> int:
    """Checks and saves every row; returns how many there were."""
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
    """Finds and saves the nearest neighbours of every airport of this run."""
    mine = Airport.objects.filter(upload=upload, run=upload.run)
    places = {
        pk: globe.vector(latitude, longitude)
        for pk, latitude, longitude in mine.order_by("pk").values_list("pk", "latitude", "longitude")
    }
    grid = globe.Grid(places.items())
    # In no order: airports in crowded regions take longer, and all in a row they would belie the time left.
    order = random.sample(list(places), len(places))
    near = (
        Neighbour(airport_id=pk, other_id=other, rank=rank, distance_km=globe.km(chord))
        for pk in telltale.progress(order, unit="airports", message="Finding the nearest airports of each")
        for rank, (chord, other) in enumerate(grid.nearest(places[pk], NEIGHBOURS, but=pk), start=1)
    )
    for batch in _batches(near):
        Neighbour.objects.bulk_create(batch)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    waiting = iter(items)
    while batch := list(islice(waiting, BATCH)):
        yield batch


def _sweep(upload: Upload) -> None:
    """Deletes what other runs of this import have left."""
    others = Airport.objects.filter(upload=upload).exclude(run=upload.run)
    with transaction.atomic():
        Neighbour.objects.filter(airport__in=others).delete()
        others.delete()
