"""Decides to which addresses messages may be sent. No I/O: the caller resolves names.

An endpoint's URL comes from a client of the API, so it must not lead into the operator's network or to the
metadata of its cloud (server-side request forgery).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL = 2_048

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure: wire server and DNS, although the address is public
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments; Oracle's cloud has its metadata here
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64 of a local network, RFC 8215
    ipaddress.ip_network("fec0::/10"),  # site-local, RFC 3879
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the operator allows besides https to public addresses."""

    allows_http: bool = False
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. `host` is without brackets."""

    is_https: bool
    host: str
    port: int


def read_networks(text: str) -> tuple[Network, ...]:
    """Read networks that are separated by commas, such as `10.0.0.0/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())


def read_url(url: str, rules: AddressRules) -> Target:
    """Return where a URL leads. Raises ValueError, in words for the client, if nothing may be sent there.

    A name is not resolved: its addresses are checked by `is_allowed` before each connection.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"must be an address of at most {LONGEST_URL} printable ASCII characters")
    parts = urlsplit(url)
    schemes = ("https", "http") if rules.allows_http else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        allowed = "https:// or http://" if rules.allows_http else "https://"
        raise ValueError(f"must be an address that starts with {allowed}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must have no user, password or fragment")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("must have a port from 1 to 65535") from error
    if port == 0:
        raise ValueError("must have a port from 1 to 65535")
    is_https = parts.scheme == "https"
    target = Target(is_https, parts.hostname, port or (443 if is_https else 80))
    literal = read_address(target.host)
    if literal is not None and not is_allowed(literal, rules.networks):
        raise ValueError("leads to an address that is not public, which the operator does not allow")
    return target


def read_address(text: str) -> IpAddress | None:
    """Return the address that a text spells; None for a name."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_allowed(address: IpAddress, networks: Sequence[Network]) -> bool:
    """Whether messages may be sent to an address: a public one, or one that the operator allows.

    An IPv6 address that stands for an IPv4 address is judged by both.
    """
    return all(_is_public(one) or _is_among(one, networks) for one in _faces(address))


def choose_allowed(addresses: Iterable[str], networks: Sequence[Network]) -> list[str]:
    """Return those of the resolved addresses to which messages may be sent, in their order."""
    read = ((text, read_address(text)) for text in addresses)
    return [text for text, address in read if address is not None and is_allowed(address, networks)]


def _faces(address: IpAddress) -> list[IpAddress]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    inner = [address.sixtofour, *(address.teredo or ())]
    return [address, *(one for one in inner if one is not None)]


def _is_public(address: IpAddress) -> bool:
    is_odd = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not is_odd and not _is_among(address, _NOT_PUBLIC)


def _is_among(address: IpAddress, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
