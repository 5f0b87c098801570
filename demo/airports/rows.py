"""One row of the file as an airport, or words for people about what is wrong with it."""

import telltale
from demo.airports.models import Airport


def airport(row: dict[str, str], *, number: int, upload_id: object, run: int) -> Airport:
    """The airport of line `number`; raises `telltale.TaskError`, which is shown to whoever waits for the import."""
    return Airport(
        upload_id=upload_id,
        run=run,
        row=number,
        code=_text(row, "icao", 16, number),
        name=_text(row, "name", 255, number),
        city=row["city"][:255],
        country=_country(row["country"], number),
        latitude=_degrees(row["lat"], "latitude", 90, number),
        longitude=_degrees(row["lon"], "longitude", 180, number),
    )


def _text(row: dict[str, str], column: str, longest: int, number: int) -> str:
    text = row[column].strip()
    if not text or len(text) > longest:
        raise telltale.TaskError(f"Row {number:,}: {column} must have 1 to {longest} characters; it has {len(text)}.")
    return text


def _country(text: str, number: int) -> str:
    if len(text) != 2 or not text.isalpha() or not text.isupper():
        raise telltale.TaskError(f"Row {number:,}: country {text[:20]!r} is not a code of two capitals, such as NZ.")
    return text


def _degrees(text: str, what: str, bound: int, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise telltale.TaskError(f"Row {number:,}: {what} {text[:20]!r} is not a number.") from None
    if not -bound <= value <= bound:
        raise telltale.TaskError(f"Row {number:,}: {what} {value:g} is not between −{bound} and {bound}.")
    return value
