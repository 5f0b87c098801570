"""Gets pages of the running site, with the standard library: one request at a time, of bounded size and time."""

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from typing import IO, Final
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

    passed: tuple[str, ...]
    """The address that was asked for, and those to which it was redirected."""
    status: int
    headers: "Message[str, str]"
    body: str

    @property
    def url(self) -> str:
        """Its own address."""
        return self.passed[-1]

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case."""
        return self.headers.get_content_type()


def get(url: str) -> Answer:
    """Get `url`, whose scheme is http or https. Raises `OSError` if there is no answer."""
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})  # noqa: S310 (the scheme was checked)
    redirects = _Redirects()
    try:
        with urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT_S) as response:
            return _answer(response, (url, *redirects.followed), response.status)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error, (url, *redirects.followed), error.code)
    except http.client.HTTPException as error:
        raise OSError(f"{url} answers with what is not HTTP: {error!r}") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps their addresses."""

    def __init__(self) -> None:
        self.followed: list[str] = []

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Called for each redirect."""
        self.followed.append(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _answer(
    response: "http.client.HTTPResponse | urllib.error.HTTPError", passed: tuple[str, ...], status: int
) -> Answer:
    body = response.read(MAX_BYTES).decode("utf-8", "replace")
    return Answer(passed=passed, status=status, headers=response.headers, body=body)


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


def moved(site: str, page: Answer) -> str:
    """Return the site's address at the origin to which `page` was redirected with its path, such as https.

    A redirect to another path, such as that of a login page, says nothing of the site's other addresses.
    """
    path = urlsplit(page.passed[0]).path
    last = next(parts for parts in map(urlsplit, reversed(page.passed)) if parts.path == path)
    return urlsplit(site)._replace(scheme=last.scheme, netloc=last.netloc).geturl()


def is_same_origin(url: str, other: str) -> bool:
    """Whether both addresses have the same origin."""
    return urlsplit(url)[:2] == urlsplit(other)[:2]


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
