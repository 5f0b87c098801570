"""From where a client comes: whom one believes, and what a liar can reach."""

from typing import Any

import pytest

from telltale.server.proxies import LONGEST, Proxies, plain

NGINX = "127.0.0.1"


def scope(*lines: str) -> Any:
    """A request with these `X-Forwarded-For` lines."""
    return {"headers": [(b"host", b"example.org"), *((b"X-Forwarded-For", line.encode("latin-1")) for line in lines)]}


def test_a_stranger_is_not_believed() -> None:
    assert Proxies.of("127.0.0.1,::1").client_of("203.0.113.9", scope("198.51.100.1")) == "203.0.113.9"


def test_a_trusted_proxy_says_who_asked_it() -> None:
    assert Proxies.of(NGINX).client_of(NGINX, scope("198.51.100.1")) == "198.51.100.1"


def test_a_trusted_proxy_that_says_nothing_is_the_client() -> None:
    assert Proxies.of(NGINX).client_of(NGINX, scope()) == NGINX
    assert Proxies.of(NGINX).client_of(NGINX, scope(" , ")) == NGINX


def test_what_a_client_wrote_itself_stands_before_what_the_proxy_saw_and_is_not_believed() -> None:
    proxies = Proxies.of(NGINX)
    assert proxies.client_of(NGINX, scope("1.1.1.1, 198.51.100.1")) == "198.51.100.1"
    assert proxies.client_of(NGINX, scope("127.0.0.1, 198.51.100.1")) == "198.51.100.1"


def test_a_client_can_not_hide_the_proxys_line_behind_one_of_its_own() -> None:
    assert Proxies.of(NGINX).client_of(NGINX, scope("1.1.1.1", "198.51.100.1")) == "198.51.100.1"


def test_through_a_chain_the_last_stranger_is_the_client() -> None:
    proxies = Proxies.of("127.0.0.1, 10.0.0.0/8")
    assert proxies.client_of(NGINX, scope("6.6.6.6, 198.51.100.1, 10.2.3.4")) == "198.51.100.1"


def test_where_all_are_trusted_the_first_is_the_client() -> None:
    assert Proxies.of("127.0.0.1,10.0.0.0/8").client_of(NGINX, scope("10.1.1.1, 10.2.3.4")) == "10.1.1.1"


def test_networks_are_understood_and_so_are_their_careless_forms() -> None:
    for name in ("10.0.0.0/8", "10.1.2.3/8"):
        assert Proxies.of(name).client_of("10.9.9.9", scope("198.51.100.1")) == "198.51.100.1"
        assert Proxies.of(name).client_of("11.9.9.9", scope("198.51.100.1")) == "11.9.9.9"


def test_a_star_believes_whoever_asks_and_nobody_behind_it() -> None:
    assert Proxies.of("*").client_of("172.17.0.1", scope("1.1.1.1, 198.51.100.1")) == "198.51.100.1"
    assert (
        Proxies.of("*,10.0.0.0/8").client_of("172.17.0.1", scope("1.1.1.1, 198.51.100.1, 10.0.0.7")) == "198.51.100.1"
    )


def test_a_list_is_as_good_as_a_text_and_nothing_trusts_nobody() -> None:
    assert Proxies.of([NGINX]).client_of(NGINX, scope("198.51.100.1")) == "198.51.100.1"
    for nothing in (None, "", [], "nginx"):
        assert Proxies.of(nothing).client_of(NGINX, scope("198.51.100.1")) == NGINX


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        (" 198.51.100.1 ", "198.51.100.1"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_has_one_form_so_that_it_is_counted_once(written: str, meant: str) -> None:
    assert plain(written) == meant
    assert Proxies.of(NGINX).client_of(NGINX, scope(written)) == meant


def test_a_proxy_that_comes_by_ipv6s_form_of_ipv4_is_known() -> None:
    assert Proxies.of(NGINX).client_of(f"::ffff:{NGINX}", scope("198.51.100.1")) == "198.51.100.1"


def test_a_long_lie_is_cut() -> None:
    assert len(Proxies.of(NGINX).client_of(NGINX, scope("x" * 5_000))) == LONGEST
