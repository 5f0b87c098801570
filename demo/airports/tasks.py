"""The demo's background tasks, as a site would write them: the decorator of django.tasks, then Telltale's."""

from collections.abc import Iterator
from math import dist

from django import VERSION as DJANGO_VERSION

import telltale
from demo.airports import globe, importing, samples

if DJANGO_VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

USUAL_COUNT = 1_500
"""Airports of each run that the demo does at its first start, so that the usual duration is known."""
SLOW_COUNT = 14_000
"""Airports of a run that takes longer than usual."""
REACH_KM = 1_500.0
"""The longest distance of one flight."""
JOURNEYS = 4


@task()
@telltale.tracked(label="Import airports")
def import_airports(upload_id: str) -> None:
    """Import an uploaded file, and find the five nearest neighbours of each airport."""
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
@telltale.tracked(label="Fly from airport to airport")
def hop(reach_km: float) -> None:
    """Fly to the nearest airport not visited yet, until none is within reach. The number of flights is not known."""
    places = {number: globe.vector(row["lat"], row["lon"]) for number, row in enumerate(samples.places())}
    tracker = telltale.current()
    tracker.unit = "flights"
    for number in range(JOURNEYS):
        tracker.message = f"Journey {number + 1}: flying to the nearest airport not visited yet"
        for _ in _journey(globe.Grid(places.items()), places, number * len(places) // JOURNEYS, reach_km):
            telltale.check_cancelled()
            tracker.current += 1
    tracker.message = f"After {tracker.current:,} flights, no unvisited airport is within {reach_km:,g} km"


@task()
@telltale.tracked(label="Measure the distances between airports")
def measure(count: int) -> None:
    """Compute the mean distance of the first `count` airports. Twice the count takes four times as long."""
    places = [globe.vector(row["lat"], row["lon"]) for row in samples.places()[:count]]
    total = 0.0
    for number, place in enumerate(telltale.progress(places, unit="airports", message="Measuring distances")):
        total += sum(globe.km(dist(place, other)) for other in places[:number])
    mean = total / max(1, count * (count - 1) / 2)
    telltale.current().message = f"The mean distance is {mean:,.0f} km"


def _journey(grid: globe.Grid, places: dict[int, globe.Vector], here: int, reach_km: float) -> Iterator[int]:
    """Yield the airports of a journey that starts at `here`."""
    while True:
        grid.remove(here, places[here])
        near = grid.nearest(places[here], 1, within=reach_km / globe.EARTH_KM)
        if not near:
            return
        here = near[0][1]
        yield here
