"""Turns a row of the file into an airport, or raises an error for people that says what is wrong with the row."""

import telltale
from demo.airports.models import Airport


def airport(row: dict[str, str], *, number: int, upload_id: object, run: int) -> Airport:
    """Return the airport of line `number`; raises `telltale.TaskError`, which the import's page shows."""
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


def _text(row: dict[str, str], column: str, max_length: int, number: int) -> str:
    text = row[column].strip()
    if not text or len(text) > max_length:
        raise telltale.TaskError(
            f"Row {number:,}: {column} must have 1 to {max_length} characters; it has {len(text)}."
        )
    return text


def _country(text: str, number: int) -> str:
    if len(text) != 2 or not text.isalpha() or not text.isupper():
        raise telltale.TaskError(
            f"Row {number:,}: country {text[:20]!r} is not a code of two capital letters, such as NZ."
        )
    return text


def _degrees(text: str, column: str, bound: int, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise telltale.TaskError(f"Row {number:,}: {column} {text[:20]!r} is not a number.") from None
    if not -bound <= value <= bound:
        raise telltale.TaskError(f"Row {number:,}: {column} {value:g} is not between −{bound} and {bound}.")
    return value
