"""Taking an uploaded file: is it a CSV of airports that can be read to its end?

Everything that can be said at once is said here, before anything is kept or queued: `Unreadable`, in words
that name the mend. Reads in small pieces, so that neither a long file nor a long line needs memory.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile

COLUMNS = ("icao", "name", "city", "country", "lat", "lon")
MAX_LINE = 64 * 1024
"""Longest line, in characters."""

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Unreadable(ValueError):
    """Words for people: what is wrong with the file, and what to do about it."""


def take(upload: UploadedFile, target: Path) -> str:
    """Copies the upload to `target` and returns its encoding; raises `Unreadable`, and then leaves nothing."""
    if not upload.size:
        raise Unreadable("The file is empty. Choose a CSV file with a header line and one airport a line.")
    try:
        with target.open("xb") as kept:
            encoding = _copy(upload, kept)
        _check_header(target, encoding)
    except Unreadable:
        target.unlink()
        raise
    return encoding


def lines(path: Path, encoding: str) -> Iterator[dict[str, str]]:
    """The file's rows by the names of the header, one at a time; raises `Unreadable` where they end being CSV."""
    with path.open(encoding=encoding, newline="") as file:
        try:
            yield from csv.DictReader(file, restval="")
        except csv.Error as error:  # such as a quote that is never closed
            raise _not_csv(error) from error


def count_lines(path: Path) -> int:
    """How many lines there are at most after the header: quickly, without parsing."""
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(1 << 20), b"")
        return sum(piece.count(b"\n") for piece in pieces)


def _copy(upload: UploadedFile, kept: io.BufferedWriter) -> str:
    encoding, decoder, line = "", None, 0
    for chunk in upload.chunks():
        if decoder is None:
            encoding = next((name for bom, name in _BOMS if chunk.startswith(bom)), "utf-8")
            decoder = codecs.getincrementaldecoder(encoding)()
        line = _longest_open_line(_decoded(decoder, chunk), line)
        kept.write(chunk)
    if decoder is not None:
        _decoded(decoder, b"", final=True)
    return encoding


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> str:
    try:
        text = decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"The file is not written in UTF-8 (byte {error.object[error.start]:#04x} does not belong there). "
            "Save it as “CSV UTF-8” and try again."
        ) from error
    if "\0" in text:
        raise Unreadable("The file is not a CSV: it holds binary data. Save the table as “CSV UTF-8” and try again.")
    return text


def _longest_open_line(text: str, before: int) -> int:
    """How long the line is that `text` leaves open, `before` characters of which were there already."""
    first, *rest = text.split("\n")
    if max(before + len(first), *map(len, rest), 0) > MAX_LINE:
        raise Unreadable(
            f"The file has a line of more than {MAX_LINE:,} characters, so it is hardly a list of airports. "
            "Check that lines end with a line break, and that quotes are closed."
        )
    return len(rest[-1]) if rest else before + len(first)


def _check_header(path: Path, encoding: str) -> None:
    with path.open(encoding=encoding, newline="") as file:
        try:
            header = next(csv.reader(file), [])
            has_rows = next(csv.reader(file), None) is not None
        except csv.Error as error:
            raise Unreadable(
                f"The file is not a CSV ({error}). Save the table as “CSV UTF-8” and try again."
            ) from error
    missing = [column for column in COLUMNS if column not in header]
    if len(missing) == len(COLUMNS):
        raise Unreadable(
            "The file is not a CSV of airports: its first line is no header. "
            f"Begin it with the line {','.join(COLUMNS)}."
        )
    if missing:
        raise Unreadable(f"The header lacks {', '.join(missing)}. It needs the columns {', '.join(COLUMNS)}.")
    if not has_rows:
        raise Unreadable("The file has a header but no airports. Add a line for each airport.")


def _not_csv(error: csv.Error) -> Unreadable:
    return Unreadable(f"The file is not a CSV ({error}). Save the table as “CSV UTF-8” and try again.")
