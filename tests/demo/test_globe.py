"""The demo's geometry: the grid finds exactly what looking at every place would."""

import math
import random

from demo.airports import globe


def test_the_grid_finds_the_nearest_wherever_on_the_globe() -> None:
    chance = random.Random(7)
    places = {
        n: globe.vector(math.degrees(math.asin(chance.uniform(-1, 1))), chance.uniform(-180, 180)) for n in range(500)
    }
    grid = globe.Grid(places.items())
    for number, place in places.items():
        by_hand = sorted((math.dist(place, other), n) for n, other in places.items() if n != number)[:5]
        assert grid.nearest(place, 5, but=number) == by_hand


def test_neighbours_across_the_date_line_are_near() -> None:
    grid = globe.Grid([(1, globe.vector(-17, 179.9)), (2, globe.vector(-17, 160))])
    [(chord, nearest)] = grid.nearest(globe.vector(-17, -179.9), 1)
    assert nearest == 1
    assert 20 < globe.km(chord) < 23


def test_fewer_places_than_asked_for_are_all_found() -> None:
    grid = globe.Grid([(1, globe.vector(0, 0)), (2, globe.vector(90, 0))])
    assert [number for _, number in grid.nearest(globe.vector(0, 1), 5)] == [1, 2]


def test_nothing_is_found_beyond_the_reach() -> None:
    grid = globe.Grid([(1, globe.vector(0, 0))])
    assert grid.nearest(globe.vector(0, 10), 1, within=500 / globe.EARTH_KM) == []
