"""The demo's background tasks, as a site would write them: django.tasks outside, Telltale beneath, work within."""

from collections.abc import Iterator
from math import dist

from django import VERSION as DJANGO_VERSION

import telltale
from demo.airports import globe, importing, samples

if DJANGO_VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

TAUGHT_COUNT = 1_500
"""So many airports are measured when the demo is first started, some runs in a row: what is usual."""
SLOW_COUNT = 14_000
"""And so many when one asks for a run that takes longer than usual."""
REACH_KM = 1_500.0
"""How far one hop may lead."""
JOURNEYS = 4


@task()
@telltale.tracked(label="Import airports")
def import_airports(upload_id: str) -> None:
    """Reads an uploaded file into tables and connects each airport with its five nearest."""
    upload = importing.begin(upload_id)
    with telltale.stage("Reading", weight=0.05):
        count = importing.read(upload)
    with telltale.stage("Finding neighbours", weight=0.95):
        importing.connect(upload)
    if importing.finish(upload):
        tracker = telltale.current()
        tracker.current, tracker.unit = count, "airports"
        tracker.result = upload.get_absolute_url()


@task()
@telltale.tracked(label="Hop from airport to airport")
def hop(reach_km: float) -> None:
    """Flies to the nearest airport not yet seen until none is within reach: nobody knows how many hops that takes."""
    places = {number: globe.vector(row["lat"], row["lon"]) for number, row in enumerate(samples.places())}
    tracker = telltale.current()
    tracker.unit = "hops"
    for number in range(JOURNEYS):
        tracker.message = f"Journey {number + 1}: to the nearest airport not yet seen"
        for _ in _journey(globe.Grid(places.items()), places, number * len(places) // JOURNEYS, reach_km):
            telltale.check_cancelled()
            tracker.current += 1
    tracker.message = f"After {tracker.current:,} hops no airport within {reach_km:,g} km is left to see"


@task()
@telltale.tracked(label="Measure how far apart airports are")
def measure(count: int) -> None:
    """The mean distance between any two of the first `count` airports: twice as many take four times as long."""
    places = [globe.vector(row["lat"], row["lon"]) for row in samples.places()[:count]]
    total = 0.0
    for number, place in enumerate(telltale.progress(places, unit="airports", message="Measuring distances")):
        total += sum(globe.km(dist(place, other)) for other in places[:number])
    mean = total / max(1, count * (count - 1) / 2)
    telltale.current().message = f"On average they are {mean:,.0f} km apart"


def _journey(grid: globe.Grid, places: dict[int, globe.Vector], here: int, reach_km: float) -> Iterator[int]:
    """The airports that one comes by, from `here` on."""
    while True:
        grid.remove(here, places[here])
        near = grid.nearest(places[here], 1, within=reach_km / globe.EARTH_KM)
        if not near:
            return
        here = near[0][1]
        yield here
