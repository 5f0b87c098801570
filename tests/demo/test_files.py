"""The demo's first look at an uploaded file: small pieces, clear words, nothing left behind."""

from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from demo.airports import files

HEADER = ",".join(files.COLUMNS)
ROW = "EGLL,Heathrow,London,GB,51.47,-0.46"


def takes(tmp_path: Path, content: bytes) -> str:
    return files.take(SimpleUploadedFile("airports.csv", content), tmp_path / "kept.csv")


@pytest.mark.parametrize(("encoding", "found"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16")])
def test_what_spreadsheets_write_is_read_as_they_meant_it(tmp_path: Path, encoding: str, found: str) -> None:
    assert takes(tmp_path, f"{HEADER}\nLSZH,Zürich,Zürich,CH,47,8\n".encode(encoding)) == found
    [row] = files.lines(tmp_path / "kept.csv", found)
    assert (row["icao"], row["name"]) == ("LSZH", "Zürich")


def test_a_refused_file_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(files.Unreadable, match="not written in UTF-8"):
        takes(tmp_path, f"{HEADER}\n{ROW}\n".encode() + b"\xff\n")
    assert list(tmp_path.iterdir()) == []


def test_a_character_cut_by_the_end_of_the_file_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(files.Unreadable, match="not written in UTF-8"):
        takes(tmp_path, f"{HEADER}\nZürich".encode()[:-4] + b"\xc3")


def test_a_line_that_grows_over_several_pieces_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(files.Unreadable, match="more than 65,536 characters"):
        takes(tmp_path, HEADER.encode() + b"\n" + b"y" * 200_000)


def test_a_quote_that_is_never_closed_ends_in_words_not_in_a_traceback(tmp_path: Path) -> None:
    takes(tmp_path, f'{HEADER}\n{ROW}\nEGLL,"Heathrow,London\n'.encode() + (ROW + "\n").encode() * 5_000)
    with pytest.raises(files.Unreadable, match="is not a CSV"):
        list(files.lines(tmp_path / "kept.csv", "utf-8"))


def test_lines_are_counted_without_reading_the_file_into_memory(tmp_path: Path) -> None:
    takes(tmp_path, f"{HEADER}\n{ROW}\n{ROW}\n".encode())
    assert files.count_lines(tmp_path / "kept.csv") == 3
