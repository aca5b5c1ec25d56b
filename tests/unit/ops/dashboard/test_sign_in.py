"""Cookies, and who counts as somebody at this machine."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from app.api.dependencies import Services
from app.api.known_keys import Key, Scope
from app.db.engine import Database
from app.ids import AccountId
from app.ops.dashboard.sign_in import SESSION_HOURS, SignIn, is_own_page, is_this_machine
from app.settings import Settings
from app.vault import Vault
from app.work.wakeups import Wakeups
from tests.fakes.clock import START, FakeClock

KEY = Key("key_1", "Ops", AccountId("908070001"), AccountId("908070001"), frozenset({Scope.CALLS_READ}))


def sign_in(secret: str = "a" * 32, **settings: Any) -> SignIn:
    services = Services(
        Settings(**settings), Database("sqlite+aiosqlite:///never-opened.db"), Wakeups(), FakeClock()
    )
    return SignIn(services, Vault(secret))


SIGN_IN = sign_in()


def connection(
    host: str = "127.0.0.1:8000", client: str | None = "127.0.0.1", **headers: str
) -> HTTPConnection:
    fields = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HTTPConnection(
        {
            "type": "http",
            "scheme": "http",
            "path": "/dashboard",
            "server": ("127.0.0.1", 8000),
            "client": (client, 50_000) if client else None,
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }
    )


def test_session_lasts_twelve_hours() -> None:
    cookie = sign_in().make_cookie(KEY, START)
    nearly = START + timedelta(hours=SESSION_HOURS) - timedelta(seconds=1)
    session = sign_in().read_cookie(cookie, nearly)
    assert session is not None
    assert (session.owner, session.key_id) == ("908070001", "key_1")
    assert sign_in().read_cookie(cookie, nearly + timedelta(seconds=1)) is None


def test_cookie_of_another_secret_is_rejected() -> None:
    assert sign_in().read_cookie(sign_in("b" * 32).make_cookie(KEY, START), START) is None


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_tampered_cookie_is_rejected(where: int, character: str) -> None:
    cookie = SIGN_IN.make_cookie(KEY, START)
    place = where % len(cookie)
    changed = cookie[:place] + character + cookie[place + 1 :]
    session = SIGN_IN.read_cookie(changed, START)
    assert session is None or session == SIGN_IN.read_cookie(cookie, START)


@pytest.mark.parametrize("cookie", [None, "", ".", "a.b.c", "é.é", "e30=.e30=", "%%%.%%%"])
def test_garbage_cookie_is_rejected(cookie: str | None) -> None:
    assert sign_in().read_cookie(cookie, START) is None


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_local_viewer_needs_no_key(host: str) -> None:
    assert is_this_machine(connection(host), public=False)


@pytest.mark.parametrize(
    "seen",
    [
        connection(client="10.0.0.9"),
        connection(client=None),
        connection(client="testclient"),
        connection(host="rebound.example.com"),
        connection(x_forwarded_for="203.0.113.9"),
        connection(forwarded="for=203.0.113.9"),
    ],
)
def test_proxied_remote_or_rebound_request_is_not_local(seen: HTTPConnection) -> None:
    assert not is_this_machine(seen, public=False)


def test_public_service_requires_sign_in() -> None:
    assert not is_this_machine(connection(), public=True)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://aftercall.example.com"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "https://aftercall.example.com"}, True),
        ({"origin": "https://evil.example.com"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://[::1"}, False),
        ({"origin": "http://[zz]"}, False),
        ({}, True),
    ],
)
def test_forms_are_accepted_only_from_our_pages(headers: dict[str, str], own: bool) -> None:
    assert is_own_page(headers, "10.0.0.5:8000", "https://aftercall.example.com") is own


def test_session_cookie_is_bound_to_the_host_over_https() -> None:
    assert sign_in(public_url="https://aftercall.example.com").cookie_name(connection()) == "__Host-aftercall"
    assert sign_in().cookie_name(connection()) == "aftercall"
