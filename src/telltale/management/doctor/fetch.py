"""Gets pages of the running site, with the standard library: one request at a time, of bounded size and time."""

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

from django.urls import get_script_prefix, reverse

TIMEOUT_S: Final = 10.0
"""How long a server may say nothing."""

MAX_BYTES: Final = 2_000_000
"""How much of a page is read."""

AGENT: Final = "telltale-doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, after redirects."""

    url: str
    status: int
    headers: "Message[str, str]"
    body: str

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case."""
        return self.headers.get_content_type()


def get(url: str) -> Answer:
    """Get `url`, whose scheme is http or https. Raises `OSError` if there is no answer."""
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})  # noqa: S310 (the scheme was checked)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return _answer(response, response.url, response.status)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error, url, error.code)
    except http.client.HTTPException as error:
        raise OSError(f"{url} answers with what is not HTTP: {error!r}") from error


def _answer(response: "http.client.HTTPResponse | urllib.error.HTTPError", url: str, status: int) -> Answer:
    body = response.read(MAX_BYTES).decode("utf-8", "replace")
    return Answer(url=url, status=status, headers=response.headers, body=body)


def open_stream(url: str, ticket: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Request an event stream; return the connection, and the response once its headers are there. Raises `OSError`."""
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.netloc, timeout=TIMEOUT_S)
    headers = {
        "Accept": "text/event-stream",
        "Accept-Encoding": "gzip, deflate, br",
        "Authorization": f"Bearer {ticket}",
        "User-Agent": AGENT,
    }
    try:
        connection.request("GET", parts.path, headers=headers)
        return connection, connection.getresponse()
    except http.client.HTTPException as error:
        connection.close()
        raise OSError(f"{url} answers with what is not HTTP: {error!r}") from error
    except OSError:
        connection.close()
        raise


def address(site: str, name: str) -> str:
    """Return the address of one of Telltale's URLs at the running site."""
    return site.rstrip("/") + "/" + reverse(name).removeprefix(get_script_prefix())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A script or a style sheet in a page."""

    is_script: bool
    kind: str
    """Such as "module", "importmap", "stylesheet"."""
    url: str
    """Absolute; empty for one within the page."""
    nonce: str


def tags_of(answer: Answer) -> list[Tag]:
    """Return the scripts, modules to preload and style sheets of a page, Telltale's alone."""
    parser = _Tags(answer.url)
    parser.feed(answer.body)
    return [tag for tag in parser.tags if "telltale" in tag.url or tag.kind == "importmap"]


class _Tags(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.tags: list[Tag] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        given = {name: value or "" for name, value in attrs}
        source, kind = given.get("src" if tag == "script" else "href", ""), given.get("type", "")
        if tag == "link":
            kind = given.get("rel", "")
        if tag == "script" or kind in {"stylesheet", "modulepreload"}:
            url = urljoin(self._url, source) if source else ""
            is_script = tag == "script" or kind == "modulepreload"
            self.tags.append(Tag(is_script=is_script, kind=kind, url=url, nonce=given.get("nonce", "")))
