"""The web origins from which browsers may use a key. Pure."""

from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from app.errors import Unprocessable

MOST_ORIGINS = 20
_LONGEST_ORIGIN = 255
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


def check_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Return origins in the form in which browsers send them, sorted.

    Raises Unprocessable for what is no origin, and for `http` on another host than this computer: whoever
    carries such a page could take the key out of it.
    """
    found = sorted({_check(origin) for origin in origins})
    if len(found) > MOST_ORIGINS:
        raise Unprocessable(f"A key can have at most {MOST_ORIGINS} origins")
    return tuple(found)


def _check(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not origin.isascii() or not origin.isprintable() or len(origin) > _LONGEST_ORIGIN:
        raise Unprocessable(f"An origin looks like https://app.example.com, not {origin[:_LONGEST_ORIGIN]!r}")
    shown = f"[{host}]" if ":" in host else host
    normal = f"{parts.scheme}://{shown}"
    if port is not None and port != {"http": 80, "https": 443}.get(parts.scheme):
        normal = f"{normal}:{port}"
    if parts.scheme not in {"http", "https"} or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise Unprocessable(f"An origin is a scheme, a host and a port at most: https://{shown}")
    if parts.username is not None or "*" in host:
        raise Unprocessable("An origin names one host, without a user and without wildcards")
    if parts.scheme == "http" and shown not in _LOCAL:
        raise Unprocessable(f"Use https://{shown}: http is only allowed on this computer")
    return normal


def may_use(origin: str | None, host: str, origins: Collection[str]) -> bool:
    """Whether a request with this `Origin` and `Host` may use a key with these origins.

    A program that is no browser sends no `Origin`. Our own pages are of the host that they ask.
    """
    if origin is None or origin in origins:
        return True
    return bool(host) and origin.partition("://")[2] == host
