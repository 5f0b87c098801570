"""Whatever is uploaded: a clear refusal that names the mend, and nothing kept."""

from pathlib import Path

import pytest

from demo.airports import samples
from tests.demo.site import SupervisedSite, Visitor

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

HEADER = ",".join(samples.HEADER)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not written in UTF-8"),
        (b"PK\x03\x04\0\0\0\0", "not a CSV"),
        (b"Once upon a time\nthere was an airport\n", "first line is no header"),
        (b"icao,name,city\nEGLL,Heathrow,London\n", "lacks country, lat, lon"),
        (HEADER.encode() + b"\n", "no airports"),
        (HEADER.encode() + b"\nLSZH,ZRH,Z\xfcrich,,,CH,1,47,8,\n", "Save it as “CSV UTF-8”"),
        (b"x" * 10_000_000, "more than 65,536 characters"),
    ],
    ids=["empty", "a picture", "an archive", "prose", "columns missing", "header only", "Latin-1", "10 MB header line"],
)
def test_a_file_that_is_no_list_of_airports_is_refused_in_words(
    site: SupervisedSite, visitor: Visitor, content: bytes, words: str
) -> None:
    before = kept(site)
    answer = visitor.imports(content)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert kept(site) == before


def test_a_header_line_of_200_mb_is_refused_before_it_is_read(
    site: SupervisedSite, visitor: Visitor, tmp_path: Path
) -> None:
    before = kept(site)
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    with path.open("rb") as file:
        answer = visitor.imports(file)
    assert answer.status_code == 413
    assert "at most 64 MB" in answer.json()["error"]
    assert kept(site) == before


def test_a_form_without_a_file_is_refused_in_words(visitor: Visitor) -> None:
    answer = visitor.post("/imports/", data={"other": "field"})
    assert answer.status_code == 400
    assert "field “file”" in answer.json()["error"]


def test_a_person_gets_the_same_words_as_a_page(visitor: Visitor) -> None:
    answer = visitor.http.post(
        "/imports/",
        headers={"Accept": "text/html", "X-CSRFToken": visitor.http.cookies["csrftoken"]},
        files={"file": ("empty.csv", b"")},
    )
    assert answer.status_code == 400
    assert "The file is empty." in answer.text


def test_without_the_csrf_token_nothing_is_taken(visitor: Visitor) -> None:
    answer = visitor.http.post("/imports/", files={"file": ("airports.csv", HEADER)})
    assert answer.status_code == 403


def test_utf_16_as_spreadsheets_write_it_is_taken(visitor: Visitor) -> None:
    text = "".join(samples.airports(20))
    assert visitor.imports(text.encode("utf-16")).status_code == 202


def kept(site: SupervisedSite) -> tuple[int, int, int]:
    """What there is of uploads, of tasks made from them, of files."""
    [(uploads,)] = site.rows("SELECT count(*) FROM airports_upload")
    [(tasks,)] = site.rows("SELECT count(*) FROM telltale_taskstate WHERE name LIKE '%import_airports'")
    return uploads, tasks, len(list((site.directory / "uploads").iterdir()))
