"""The demo's geometry: the grid finds the same places as a comparison with every place."""

import math
import random

from demo.airports import globe


def test_the_grid_finds_the_nearest_places_everywhere_on_the_globe() -> None:
    chance = random.Random(7)
    places = {
        n: globe.vector(math.degrees(math.asin(chance.uniform(-1, 1))), chance.uniform(-180, 180)) for n in range(500)
    }
    grid = globe.Grid(places.items())
    for number, place in places.items():
        expected = sorted((math.dist(place, other), n) for n, other in places.items() if n != number)[:5]
        assert grid.nearest(place, 5, exclude=number) == expected


def test_places_on_both_sides_of_the_date_line_are_neighbours() -> None:
    grid = globe.Grid([(1, globe.vector(-17, 179.9)), (2, globe.vector(-17, 160))])
    [(chord, nearest)] = grid.nearest(globe.vector(-17, -179.9), 1)
    assert nearest == 1
    assert 20 < globe.km(chord) < 23


def test_if_there_are_fewer_places_than_requested_all_are_found() -> None:
    grid = globe.Grid([(1, globe.vector(0, 0)), (2, globe.vector(90, 0))])
    assert [number for _, number in grid.nearest(globe.vector(0, 1), 5)] == [1, 2]


def test_places_out_of_reach_are_not_found() -> None:
    grid = globe.Grid([(1, globe.vector(0, 0))])
    assert grid.nearest(globe.vector(0, 10), 1, within=500 / globe.EARTH_KM) == []
