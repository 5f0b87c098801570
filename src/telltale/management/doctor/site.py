"""The running site, seen from outside: its static files, its policy, and whether its event streams arrive at once."""

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.templatetags.static import static

from telltale.live import tickets
from telltale.management.doctor.fetch import TIMEOUT_S, Answer, Tag, address, get, open_stream, tags_of
from telltale.management.doctor.finding import Finding
from telltale.management.doctor.policy import policies_of

TYPES = {True: {"text/javascript", "application/javascript"}, False: {"text/css"}}
"""The types that browsers accept: of modules, and of style sheets."""


def examine_site(site: str) -> Iterator[Finding]:
    """Get Telltale's list of tasks, as a visitor, what it names, and an event stream. `site`: the root's address."""
    url = address(site, "telltale:tasks")
    try:
        page = get(url)
    except OSError as error:
        yield Finding(
            id="site-unreachable",
            found=f"{url} can't be fetched: {error}",
            why="Visitors can't fetch it either, or this machine can't reach it.",
            setting="Start the site's server, or give --url the address that visitors use.",
        )
        return
    if page.status >= 400:
        yield Finding(
            id="page-refused",
            found=f"{url} answers with the status {page.status}.",
            why="Telltale's pages can't be shown.",
            setting='Status 404: add path("telltale/", include("telltale.urls")) to ROOT_URLCONF of the running site. '
            f"Status 400: add {urlsplit(url).hostname!r} to ALLOWED_HOSTS. 500: see the site's log.",
        )
        return
    yield from _static_files(page)
    yield from _policy(page, address(site, "telltale:live"))
    yield from _stream(address(site, "telltale:live"))


def _static_files(page: Answer) -> Iterator[Finding]:
    tags = [tag for tag in tags_of(page) if tag.url]
    if not tags:
        # Such as a login page.
        sheet = urlsplit(page.url)._replace(path="", query="", fragment="").geturl() + static("telltale/telltale.css")
        tags = [Tag(is_script=False, kind="stylesheet", url=sheet, nonce="")]
    for tag in {tag.url: tag for tag in tags}.values():
        finding = _static_file(tag, page)
        if finding is not None:
            yield finding
            return  # The others have the same cause.


def _static_file(tag: Tag, page: Answer) -> Finding | None:
    why = "Bars stay as the server rendered them, and live updates never begin."
    try:
        answer = get(tag.url)
    except OSError as error:
        problem = f"can't be fetched: {error}"
    else:
        if answer.status == 200 and answer.content_type in TYPES[tag.is_script]:
            return _cross_origin(tag, page, answer)
        problem = f"has the status {answer.status} and the type {answer.content_type}"
    return Finding(
        id="static-missing",
        found=f"The static file {tag.url} {problem}.",
        why=why,
        setting="Run manage.py collectstatic, and have STATIC_URL served from STATIC_ROOT with the types "
        "text/javascript and text/css (docs/static-files.md).",
    )


def _cross_origin(tag: Tag, page: Answer, answer: Answer) -> Finding | None:
    theirs, own = urlsplit(tag.url), urlsplit(page.url)
    is_own = (theirs.scheme, theirs.netloc) == (own.scheme, own.netloc)
    if is_own or not tag.is_script or answer.headers.get("Access-Control-Allow-Origin"):
        return None
    return Finding(
        id="static-cross-origin",
        found=f"{tag.url} has no header Access-Control-Allow-Origin, and its origin is not the page's.",
        why="Browsers run no module of another origin without it, although style sheets and images work.",
        setting=f'Have {theirs.netloc} send "Access-Control-Allow-Origin: *" (docs/static-files.md).',
    )


def _policy(page: Answer, live: str) -> Iterator[Finding]:
    for policy in policies_of(page.headers.get_all("Content-Security-Policy") or []):
        blocked = [tag for tag in tags_of(page) if not policy.allows_tag(tag, page.url)]
        if blocked:
            names = ", ".join(dict.fromkeys(tag.url or f"the page's {tag.kind}" for tag in blocked[:3]))
            yield Finding(
                id="policy-blocks",
                found=f"The content security policy of {page.url} blocks {names}.",
                why="The browser runs none of it, so bars don't move.",
                setting="script-src: the page's nonce and 'strict-dynamic' (or 'self'); style-src: 'self', or the "
                "origin of STATIC_URL (docs/content-security-policy.md).",
            )
        if not policy.allows_request(live, page.url):
            yield Finding(
                id="policy-blocks-live",
                found=f"The content security policy of {page.url} blocks requests to {live}.",
                why="Pages can't connect: they say that live updates stopped.",
                setting="connect-src: 'self' (docs/content-security-policy.md).",
            )


def _stream(live: str) -> Iterator[Finding]:
    ticket = tickets.issue([f"doctor:{secrets.token_hex(8)}"])
    try:
        connection, response = open_stream(live, ticket)
    except TimeoutError:
        yield _buffered(live)
        return
    except OSError as error:
        yield _refused(live, f"can't be requested: {error}")
        return
    try:
        if response.status == 406:
            return  # The site is served by WSGI, so pages poll.
        if response.status != 200:
            yield _refused(live, f"answers with the status {response.status}")
            return
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            yield Finding(
                id="stream-compressed",
                found=f"The event stream of {live} is compressed ({encoding}).",
                why="What compresses also collects: updates come late, or all together at the end.",
                setting="Do not compress text/event-stream: no such type in nginx's gzip_types, and no GZipMiddleware "
                "around the live address (docs/live-server.md).",
            )
            return
        if not response.read1(1):
            yield _refused(live, "ends at once")
    except TimeoutError:
        yield _buffered(live)
    except OSError as error:
        yield _refused(live, f"breaks off: {error}")
    finally:
        response.close()
        connection.close()


def _buffered(live: str) -> Finding:
    return Finding(
        id="stream-buffered",
        found=f"Nothing of the event stream of {live} arrived within {TIMEOUT_S:g} s.",
        why="A proxy in front of the site collects the stream. Pages wait in vain before they fall back to polling.",
        setting="nginx: proxy_buffering off; in the location of the live address (docs/live-server.md). Other proxies: "
        "pass responses on as they come.",
    )


def _refused(live: str, problem: str) -> Finding:
    return Finding(
        id="live-refused",
        found=f"The live address {live} {problem}.",
        why="Pages can't get live updates there.",
        setting="Statuses 401 and 403: the same SECRET_KEY, or SECRET_KEY_FALLBACKS, in all processes, and the site's "
        "host in ALLOWED_HOSTS. 404: pass the path on to the site or to the live server. 5xx: see their logs.",
    )
