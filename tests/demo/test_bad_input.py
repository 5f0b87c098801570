"""Invalid uploads: an error that says what to do, and nothing is saved."""

from pathlib import Path

import pytest

from demo.airports import samples
from tests.demo.site import SupervisedSite, Visitor

pytestmark = pytest.mark.service

HEADER = ",".join(samples.HEADER)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not encoded in UTF-8"),
        (b"PK\x03\x04\0\0\0\0", "not a CSV file"),
        (b"Once upon a time\nthere was an airport\n", "first line is not a header"),
        (b"icao,name,city\nEGLL,Heathrow,London\n", "lacks country, lat, lon"),
        (HEADER.encode() + b"\n", "no airports"),
        (HEADER.encode() + b"\nLSZH,ZRH,Z\xfcrich,,,CH,1,47,8,\n", "Save it as “CSV UTF-8”"),
        (b"x" * 10_000_000, "more than 65,536 characters"),
    ],
    ids=["empty", "a picture", "an archive", "prose", "columns missing", "header only", "Latin-1", "10 MB header line"],
)
def test_a_file_that_is_not_a_list_of_airports_is_refused_with_a_message(
    site: SupervisedSite, visitor: Visitor, content: bytes, message: str
) -> None:
    before = saved(site)
    response = visitor.upload(content)
    assert response.status_code == 400
    assert message in response.json()["error"]
    assert saved(site) == before


def test_a_header_line_of_200_mb_is_refused_before_it_is_read(
    site: SupervisedSite, visitor: Visitor, tmp_path: Path
) -> None:
    before = saved(site)
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    with path.open("rb") as file:
        response = visitor.upload(file)
    assert response.status_code == 413
    assert "at most 64 MB" in response.json()["error"]
    assert saved(site) == before


def test_a_form_without_a_file_is_refused_with_a_message(visitor: Visitor) -> None:
    response = visitor.post("/imports/", data={"other": "field"})
    assert response.status_code == 400
    assert "field “file”" in response.json()["error"]


def test_a_browser_gets_the_same_message_as_a_page(visitor: Visitor) -> None:
    response = visitor.http.post(
        "/imports/",
        headers={"Accept": "text/html", "X-CSRFToken": visitor.http.cookies["csrftoken"]},
        files={"file": ("empty.csv", b"")},
    )
    assert response.status_code == 400
    assert "The file is empty." in response.text


def test_an_upload_without_a_csrf_token_is_refused(visitor: Visitor) -> None:
    response = visitor.http.post("/imports/", files={"file": ("airports.csv", HEADER)})
    assert response.status_code == 403


def test_utf_16_from_spreadsheets_is_accepted(visitor: Visitor) -> None:
    text = "".join(samples.airports(20))
    assert visitor.upload(text.encode("utf-16")).status_code == 202


def saved(site: SupervisedSite) -> tuple[int, int, int]:
    """Return the numbers of uploads, of import tasks and of files."""
    [(uploads,)] = site.rows("SELECT count(*) FROM airports_upload")
    [(tasks,)] = site.rows("SELECT count(*) FROM telltale_taskstate WHERE name LIKE '%import_airports'")
    return uploads, tasks, len(list((site.directory / "uploads").iterdir()))
