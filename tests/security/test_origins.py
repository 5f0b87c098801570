"""Which origins are the site's own, for any origin that a client may send."""

from urllib.parse import urlsplit

from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st

from telltale.live.access import is_trusted_origin
from telltale.transports.http import LiveRequest

HOSTS = [
    *("example.org", "EXAMPLE.org", "example.org.", ".example.org", "example.org.evil.example", "evil-example.org"),
    *(
        "sub.example.org",
        "examp1e.org",
        "ex\u0430mple.org",
        "xn--exmple-4nf.org",
        "exam\u00adple.org",
        "example.org%00",
    ),
    *("[::1]", "[::ffff:127.0.0.1]", "127.0.0.1", "example.org@evil.example", "evil.example#example.org", ""),
    *("example.org\\@evil.example", "evil.example/example.org", "example.org, https://evil.example", "null"),
]
SCHEMES = ["https", "http", "HTTPS", "ftp", "file", "ws", "chrome-extension", "capacitor", "javascript", "", " https"]
USERS = ["", "example.org@", "user:example.org@", "@"]
PORTS = ["", ":443", ":80", ":8443", ":0443", ":", ":443:443", ":x"]
TAILS = ["", "/", "?example.org", "#example.org", " ", "\t", "\\", ".evil.example"]
ORIGINS = st.builds(
    lambda scheme, user, host, port, tail: f"{scheme}://{user}{host}{port}{tail}",
    *map(st.sampled_from, (SCHEMES, USERS, HOSTS, PORTS, TAILS)),
)


def is_own(origin: str) -> bool:
    """Whether the parser of URLs finds the site's scheme, host and port, and nothing else."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return False
    is_plain = origin.lower() == f"{url.scheme}://{url.hostname}{'' if port is None else f':{port}'}"
    return is_plain and url.scheme in {"http", "https"} and url.hostname == "example.org" and port in {None, 80, 443}


@given(ORIGINS | st.text(max_size=40))
@example("https://example.org")
@example("http://example.org:80")
@override_settings(CSRF_TRUSTED_ORIGINS=[])
def test_s03_only_the_sites_own_scheme_host_and_port_are_its_origin(origin: str) -> None:
    request = LiveRequest(host="example.org", origin=origin)
    assert is_trusted_origin(request) == (not origin or is_own(origin))


@given(ORIGINS)
@override_settings(CSRF_TRUSTED_ORIGINS=["https://*.example.net"])
def test_s03_a_wildcard_allows_subdomains_over_the_named_scheme_alone(origin: str) -> None:
    request = LiveRequest(host="site.example", origin=origin.replace("example.org", "a.example.net"))
    if is_trusted_origin(request):
        assert request.origin.lower().startswith("https://")
        assert request.origin.lower().endswith((".example.net",))
        assert "@" not in request.origin
        assert "/" not in request.origin[len("https://") :]
