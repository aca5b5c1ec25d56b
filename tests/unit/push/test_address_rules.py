"""To which addresses webhooks may be sent."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.push.sending.address_rules import (
    AddressRules,
    Target,
    choose_allowed,
    is_allowed,
    read_networks,
    read_url,
)

REFUSED = [
    "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1",
    "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b:1::1", "2001:db8::1",
    "2002:0a00:0001::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "64:ff9b::101:101",
    "::ffff:1.1.1.1",
]


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_that_are_not_public_are_refused(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text), ())


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_allowed(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text), ())


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_every_form(address: ipaddress.IPv4Address) -> None:
    forms = [ipaddress.IPv6Address(f"{prefix}{address}") for prefix in ("::ffff:", "64:ff9b::")]
    assert {is_allowed(one, ()) for one in forms} == {is_allowed(address, ())}


@given(st.ip_addresses())
def test_only_global_addresses_are_allowed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    inner = getattr(address, "ipv4_mapped", None)
    if is_allowed(address, ()) and inner is None and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address.is_global
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


def test_the_operator_can_allow_networks() -> None:
    networks = read_networks("10.20.0.0/16, 127.0.0.1")
    assert choose_allowed(["10.20.3.4", "10.21.0.1", "127.0.0.1", "::1", "1.1.1.1", "?"], networks) == [
        "10.20.3.4", "127.0.0.1", "1.1.1.1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://crm.example/hook?a=1", Target(True, "crm.example", 443)),
        ("https://crm.example:8443", Target(True, "crm.example", 8443)),
        ("https://[2606:4700:4700::1111]/", Target(True, "2606:4700:4700::1111", 443)),
    ],
)
def test_an_https_address_is_read(url: str, target: Target) -> None:
    assert read_url(url, AddressRules()) == target


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example/hook", "ftp://crm.example", "crm.example", "https://", "https:///x", "",
        "https://user:pw@crm.example/", "https://crm.example/#x", "https://crm.example:0/",
        "https://crm.example:99999/", "https://127.0.0.1/", "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://crm.example/a b", "https://crm.example/\n", "https://crm.exämple/",
        "https://a/" + "x" * 2048,
    ],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|leads)"):
        read_url(url, AddressRules())


def test_http_needs_the_operators_permission() -> None:
    assert read_url("http://crm.example/", AddressRules(allows_http=True)) == Target(False, "crm.example", 80)
