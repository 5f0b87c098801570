"""A content security policy, as far as it decides whether Telltale's scripts, style sheet and requests are allowed."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from telltale.management.doctor.fetch import Tag

_FALLBACKS: Final = {
    "script-src-elem": ("script-src-elem", "script-src", "default-src"),
    "style-src-elem": ("style-src-elem", "style-src", "default-src"),
    "connect-src": ("connect-src", "default-src"),
}


class Policy:
    """One policy; a page may have several, and each must allow what it does."""

    def __init__(self, text: str) -> None:
        self._directives: dict[str, list[str]] = {}
        for directive in text.split(";"):
            name, *sources = directive.split() or [""]
            self._directives.setdefault(name.lower(), sources)

    def allows_tag(self, tag: Tag, page: str) -> bool:
        """Whether the page at this address may have the script or style sheet."""
        sources = self._sources("script-src-elem" if tag.is_script else "style-src-elem")
        if sources is None or (tag.nonce and f"'nonce-{tag.nonce}'" in sources):
            return True
        if tag.is_script and "'strict-dynamic'" in sources:
            return False  # Addresses count for nothing then.
        if not tag.url:
            has_more = any(source.startswith(("'nonce-", "'sha")) for source in sources)
            return ("'unsafe-inline'" in sources and not has_more) or any(s.startswith("'sha") for s in sources)
        return _matches(sources, tag.url, page)

    def allows_request(self, url: str, page: str) -> bool:
        """Whether the page may request this address by a script."""
        sources = self._sources("connect-src")
        return sources is None or _matches(sources, url, page)

    def _sources(self, name: str) -> list[str] | None:
        """The sources of a directive or of what stands in for it; None if nothing limits them."""
        found = [self._directives[fallback] for fallback in _FALLBACKS[name] if fallback in self._directives]
        return found[0] if found else None


def policies_of(headers: Iterable[str]) -> list[Policy]:
    """Return the policies of these headers `Content-Security-Policy`."""
    return [Policy(text) for header in headers for text in header.split(",")]


def _matches(sources: Iterable[str], url: str, page: str) -> bool:
    return any(_matches_source(source.lower(), url, page) for source in sources)


def _matches_source(source: str, url: str, page: str) -> bool:
    target, own = urlsplit(url), urlsplit(page)
    if source == "*":
        return True
    if source == "'self'":
        return (target.scheme, target.netloc) == (own.scheme, own.netloc)
    if source.endswith(":"):
        return target.scheme == source[:-1]
    scheme, separator, rest = source.rpartition("://")
    host, _, path = rest.partition("/")
    if separator and scheme != target.scheme:
        return False
    hosts = {target.netloc.lower(), (target.hostname or "").lower()}
    return any(fnmatchcase(name, host) for name in hosts) and target.path.startswith(f"/{path}" if path else "")
