"""Sample files, made from the `airportsdata` package: all the world's airports, and the same with one bad row."""

import csv
import io
from collections.abc import Iterator

import airportsdata

BAD_ROW = 1_204
HEADER = ("icao", "iata", "name", "city", "subd", "country", "elevation", "lat", "lon", "tz")


def places() -> list[dict[str, object]]:
    """Return all airports of the package, in its order."""
    return list(airportsdata.load().values())


def airports(limit: int | None = None) -> Iterator[str]:
    """Yield a CSV file of the first `limit` airports in chunks; None: all, about 28,000."""
    return _csv(places()[:limit])


def bad() -> Iterator[str]:
    """Yield the same file with an invalid latitude in one row."""
    rows = places()
    rows[BAD_ROW - 2] = rows[BAD_ROW - 2] | {"lat": 123.4}  # the header is line 1, the first airport line 2
    return _csv(rows)


ALL = {"airports": airports, "bad": bad}


def _csv(rows: list[dict[str, object]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEADER, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        if buffer.tell() > 64 * 1024:
            yield _take_text(buffer)
    yield _take_text(buffer)


def _take_text(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
