"""The client's address behind proxies: which are trusted, and what a forged header can do."""

import pytest

from telltale.server.proxies import MAX_LENGTH, Proxies, normalize

NGINX = "127.0.0.1"


def test_s45_the_header_of_an_untrusted_peer_is_ignored() -> None:
    assert Proxies.from_setting("127.0.0.1,::1").client_address("203.0.113.9", "198.51.100.1") == "203.0.113.9"


def test_a_trusted_proxy_names_its_client() -> None:
    assert Proxies.from_setting(NGINX).client_address(NGINX, "198.51.100.1") == "198.51.100.1"


def test_a_trusted_proxy_without_the_header_is_the_client() -> None:
    assert Proxies.from_setting(NGINX).client_address(NGINX, "") == NGINX
    assert Proxies.from_setting(NGINX).client_address(NGINX, " , ") == NGINX


def test_s45_addresses_that_the_client_wrote_before_the_proxys_are_ignored() -> None:
    proxies = Proxies.from_setting(NGINX)
    assert proxies.client_address(NGINX, "1.1.1.1, 198.51.100.1") == "198.51.100.1"
    assert proxies.client_address(NGINX, "127.0.0.1, 198.51.100.1") == "198.51.100.1"


def test_through_a_chain_of_proxies_the_last_untrusted_address_is_the_client() -> None:
    proxies = Proxies.from_setting("127.0.0.1, 10.0.0.0/8")
    assert proxies.client_address(NGINX, "6.6.6.6, 198.51.100.1, 10.2.3.4") == "198.51.100.1"


def test_if_all_addresses_are_trusted_the_first_is_the_client() -> None:
    assert Proxies.from_setting("127.0.0.1,10.0.0.0/8").client_address(NGINX, "10.1.1.1, 10.2.3.4") == "10.1.1.1"


def test_networks_are_trusted_also_if_host_bits_are_set() -> None:
    for name in ("10.0.0.0/8", "10.1.2.3/8"):
        assert Proxies.from_setting(name).client_address("10.9.9.9", "198.51.100.1") == "198.51.100.1"
        assert Proxies.from_setting(name).client_address("11.9.9.9", "198.51.100.1") == "11.9.9.9"


def test_a_star_trusts_every_peer_but_no_proxy_behind_it() -> None:
    assert Proxies.from_setting("*").client_address("172.17.0.1", "1.1.1.1, 198.51.100.1") == "198.51.100.1"
    assert (
        Proxies.from_setting("*,10.0.0.0/8").client_address("172.17.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.7")
        == "198.51.100.1"
    )


def test_the_setting_may_be_a_list_and_an_empty_one_trusts_no_peer() -> None:
    assert Proxies.from_setting([NGINX]).client_address(NGINX, "198.51.100.1") == "198.51.100.1"
    for setting in (None, "", [], "nginx"):
        assert Proxies.from_setting(setting).client_address(NGINX, "198.51.100.1") == NGINX


@pytest.mark.parametrize(
    ("written", "normal"),
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
def test_an_address_is_normalized_so_that_it_is_counted_once(written: str, normal: str) -> None:
    assert normalize(written) == normal
    assert Proxies.from_setting(NGINX).client_address(NGINX, written) == normal


def test_a_proxy_whose_ipv4_address_is_in_ipv6_notation_is_trusted() -> None:
    assert Proxies.from_setting(NGINX).client_address(f"::ffff:{NGINX}", "198.51.100.1") == "198.51.100.1"


def test_a_long_address_is_cut() -> None:
    assert len(Proxies.from_setting(NGINX).client_address(NGINX, "x" * 5_000)) == MAX_LENGTH
