"""The demo's check of an uploaded file: small chunks, clear errors, no file left behind."""

from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from demo.airports import files

HEADER = ",".join(files.COLUMNS)
ROW = "EGLL,Heathrow,London,GB,51.47,-0.46"


def save(tmp_path: Path, content: bytes) -> str:
    return files.save(SimpleUploadedFile("airports.csv", content), tmp_path / "saved.csv")


@pytest.mark.parametrize(("encoding", "found"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16")])
def test_files_from_spreadsheets_are_decoded_correctly(tmp_path: Path, encoding: str, found: str) -> None:
    assert save(tmp_path, f"{HEADER}\nLSZH,Zürich,Zürich,CH,47,8\n".encode(encoding)) == found
    [row] = files.lines(tmp_path / "saved.csv", found)
    assert (row["icao"], row["name"]) == ("LSZH", "Zürich")


def test_a_refused_file_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(files.Unreadable, match="not encoded in UTF-8"):
        save(tmp_path, f"{HEADER}\n{ROW}\n".encode() + b"\xff\n")
    assert list(tmp_path.iterdir()) == []


def test_a_character_that_is_cut_off_by_the_end_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(files.Unreadable, match="not encoded in UTF-8"):
        save(tmp_path, f"{HEADER}\nZürich".encode()[:-4] + b"\xc3")


def test_a_long_line_that_spans_several_chunks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(files.Unreadable, match="more than 65,536 characters"):
        save(tmp_path, HEADER.encode() + b"\n" + b"y" * 200_000)


def test_an_unclosed_quote_raises_a_message_for_people(tmp_path: Path) -> None:
    save(tmp_path, f'{HEADER}\n{ROW}\nEGLL,"Heathrow,London\n'.encode() + (ROW + "\n").encode() * 5_000)
    with pytest.raises(files.Unreadable, match="is not a CSV file"):
        list(files.lines(tmp_path / "saved.csv", "utf-8"))


def test_lines_are_counted_without_reading_the_file_into_memory(tmp_path: Path) -> None:
    save(tmp_path, f"{HEADER}\n{ROW}\n{ROW}\n".encode())
    assert files.count_lines(tmp_path / "saved.csv") == 3
