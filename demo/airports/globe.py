"""Distances on the globe: geometry only, no database.

Places are unit vectors, so that the poles and the date line need no special case. The grid divides space into cubes.
The nearest places are searched ring by ring, until no further ring can contain a nearer one.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from heapq import nsmallest
from itertools import product

EARTH_KM = 6371.0
CELL = 0.15
"""Edge of a cube, in radii of the Earth (about 960 km): coarse, so that the demo takes half a minute."""

Vector = tuple[float, float, float]
Cell = tuple[int, int, int]


def vector(latitude: float, longitude: float) -> Vector:
    """Return the unit vector of a place given in degrees."""
    lat, lon = math.radians(latitude), math.radians(longitude)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def km(chord: float) -> float:
    """Return the distance on the ground, in kilometres, of two places whose unit vectors are `chord` apart."""
    return 2 * EARTH_KM * math.asin(min(1.0, chord / 2))


class Grid:
    """Places by number, which finds the nearest to a point."""

    def __init__(self, places: Iterable[tuple[int, Vector]]) -> None:
        self.cells: dict[Cell, dict[int, Vector]] = defaultdict(dict)
        for number, place in places:
            self.cells[_cell(place)][number] = place

    def remove(self, number: int, place: Vector) -> None:
        """Remove a place."""
        del self.cells[_cell(place)][number]

    def nearest(
        self, place: Vector, count: int, *, exclude: int | None = None, within: float = 2.0
    ) -> list[tuple[float, int]]:
        """Return the `count` nearest places as (chord, number), nearest first; fewer if fewer are `within`."""
        found: list[tuple[float, int]] = []
        for ring in range(math.ceil(within / CELL) + 1):
            # All cubes within `ring` have been searched, so every place nearer than this is in `found`.
            if len(found) == count and found[-1][0] <= (ring - 1) * CELL:
                break
            found = nsmallest(count, found + self._ring(place, ring, exclude))
        return [pair for pair in found if pair[0] <= within]

    def _ring(self, place: Vector, ring: int, exclude: int | None) -> list[tuple[float, int]]:
        centre = _cell(place)
        distance = math.dist
        return [
            (distance(place, other), number)
            for offset in _shell(ring)
            for number, other in self.cells.get(
                (centre[0] + offset[0], centre[1] + offset[1], centre[2] + offset[2]), {}
            ).items()
            if number != exclude
        ]


def _cell(place: Vector) -> Cell:
    return math.floor(place[0] / CELL), math.floor(place[1] / CELL), math.floor(place[2] / CELL)


_shells: dict[int, list[Cell]] = {}


def _shell(ring: int) -> list[Cell]:
    """Return the offsets of all cubes in a ring: the surface of a cube of cubes."""
    if ring not in _shells:
        span = range(-ring, ring + 1)
        _shells[ring] = [offset for offset in product(span, span, span) if max(map(abs, offset)) == ring]
    return _shells[ring]
