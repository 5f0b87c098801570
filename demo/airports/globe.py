"""Distances on the globe: plain geometry, no database.

Places are unit vectors, so that neither the poles nor the date line are special. The grid cuts space into
cubes; the nearest are searched ring by ring, until no farther ring can hold a nearer one.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from heapq import nsmallest
from itertools import product

EARTH_KM = 6371.0
CELL = 0.15
"""Edge of a cube, in radii of the Earth (some 960 km): coarse, so that the demo has work for half a minute."""

Vector = tuple[float, float, float]
Cell = tuple[int, int, int]


def vector(latitude: float, longitude: float) -> Vector:
    """The unit vector of a place given in degrees."""
    lat, lon = math.radians(latitude), math.radians(longitude)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def km(chord: float) -> float:
    """Kilometres along the ground between two places whose unit vectors are `chord` apart."""
    return 2 * EARTH_KM * math.asin(min(1.0, chord / 2))


class Grid:
    """Places by number, to be asked for those nearest to a point."""

    def __init__(self, places: Iterable[tuple[int, Vector]]) -> None:
        self.cells: dict[Cell, dict[int, Vector]] = defaultdict(dict)
        for number, place in places:
            self.cells[_cell(place)][number] = place

    def remove(self, number: int, place: Vector) -> None:
        """Forget a place."""
        del self.cells[_cell(place)][number]

    def nearest(
        self, place: Vector, count: int, *, but: int | None = None, within: float = 2.0
    ) -> list[tuple[float, int]]:
        """The `count` nearest to `place` as (chord, number), nearest first; fewer if no more are within `within`."""
        found: list[tuple[float, int]] = []
        for ring in range(math.ceil(within / CELL) + 1):
            # All cubes within `ring` have been searched, so nothing nearer than this is still unseen.
            if len(found) == count and found[-1][0] <= (ring - 1) * CELL:
                break
            found = nsmallest(count, found + self._ring(place, ring, but))
        return [pair for pair in found if pair[0] <= within]

    def _ring(self, place: Vector, ring: int, but: int | None) -> list[tuple[float, int]]:
        ours = _cell(place)
        distance = math.dist
        return [
            (distance(place, other), number)
            for step in _shell(ring)
            for number, other in self.cells.get((ours[0] + step[0], ours[1] + step[1], ours[2] + step[2]), {}).items()
            if number != but
        ]


def _cell(place: Vector) -> Cell:
    return math.floor(place[0] / CELL), math.floor(place[1] / CELL), math.floor(place[2] / CELL)


_shells: dict[int, list[Cell]] = {}


def _shell(ring: int) -> list[Cell]:
    """The steps to all cubes of that ring: the surface of a cube of cubes."""
    if ring not in _shells:
        span = range(-ring, ring + 1)
        _shells[ring] = [step for step in product(span, span, span) if max(map(abs, step)) == ring]
    return _shells[ring]
