"""Checks and saves an uploaded file: is it a readable CSV file of airports?

Raises `Unreadable` with a message for people before an import is saved or queued. Reads in small chunks, so that
neither a large file nor a long line needs much memory.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile

COLUMNS = ("icao", "name", "city", "country", "lat", "lon")
MAX_LINE = 64 * 1024
"""Upper bound of a line's length, in characters."""

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Unreadable(ValueError):
    """The file can't be imported. The message is for people: what is wrong with the file, and what to do about it."""


def save(upload: UploadedFile, target: Path) -> str:
    """Copy the upload to `target` and return its encoding; raises `Unreadable` and then leaves no file."""
    if not upload.size:
        raise Unreadable("The file is empty. Choose a CSV file with a header line and one line for each airport.")
    try:
        with target.open("xb") as file:
            encoding = _copy(upload, file)
        _check_header(target, encoding)
    except Unreadable:
        target.unlink()
        raise
    return encoding


def lines(path: Path, encoding: str) -> Iterator[dict[str, str]]:
    """Yield the file's rows as dicts by column name; raises `Unreadable` at a row that is not valid CSV."""
    with path.open(encoding=encoding, newline="") as file:
        try:
            yield from csv.DictReader(file, restval="")
        except csv.Error as error:  # such as a quote that is never closed
            raise _not_csv(error) from error


def count_lines(path: Path) -> int:
    """Return an upper bound of the number of rows after the header, without parsing the file."""
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(1 << 20), b"")
        return sum(chunk.count(b"\n") for chunk in chunks)


def _copy(upload: UploadedFile, file: io.BufferedWriter) -> str:
    encoding, decoder, line_length = "", None, 0
    for chunk in upload.chunks():
        if decoder is None:
            encoding = next((name for bom, name in _BOMS if chunk.startswith(bom)), "utf-8")
            decoder = codecs.getincrementaldecoder(encoding)()
        line_length = _open_line_length(_decoded(decoder, chunk), line_length)
        file.write(chunk)
    if decoder is not None:
        _decoded(decoder, b"", final=True)
    return encoding


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> str:
    try:
        text = decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"The file is not encoded in UTF-8: byte {error.object[error.start]:#04x} is not valid there. "
            "Save it as “CSV UTF-8” and try again."
        ) from error
    if "\0" in text:
        raise Unreadable(
            "The file is not a CSV file: it contains binary data. Save the table as “CSV UTF-8” and try again."
        )
    return text


def _open_line_length(text: str, before: int) -> int:
    """Return the length of the last, unfinished line; `before`: the length of the line that `text` continues."""
    first, *rest = text.split("\n")
    if max(before + len(first), *map(len, rest), 0) > MAX_LINE:
        raise Unreadable(
            f"The file has a line of more than {MAX_LINE:,} characters. "
            "Check that each airport is on a line of its own and that all quotes are closed."
        )
    return len(rest[-1]) if rest else before + len(first)


def _check_header(path: Path, encoding: str) -> None:
    with path.open(encoding=encoding, newline="") as file:
        try:
            header = next(csv.reader(file), [])
            has_rows = next(csv.reader(file), None) is not None
        except csv.Error as error:
            raise _not_csv(error) from error
    missing = [column for column in COLUMNS if column not in header]
    if len(missing) == len(COLUMNS):
        raise Unreadable(
            "The file is not a CSV file of airports: its first line is not a header. "
            f"Start the file with the line {','.join(COLUMNS)}."
        )
    if missing:
        raise Unreadable(f"The header lacks {', '.join(missing)}. The required columns are {', '.join(COLUMNS)}.")
    if not has_rows:
        raise Unreadable("The file has a header but no airports. Add a line for each airport.")


def _not_csv(error: csv.Error) -> Unreadable:
    return Unreadable(f"The file is not a CSV file ({error}). Save the table as “CSV UTF-8” and try again.")
