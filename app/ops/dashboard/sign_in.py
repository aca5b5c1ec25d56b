"""Who may look at the dashboard.

Without signing in: only from this machine, and only while the service is meant for this machine alone. All
others sign in with an API key; the browser keeps a signed cookie, never the key. The key is looked up again
at every request, so revoking it ends the session. Why so: docs/decisions/dashboard-access.md.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from sqlalchemy import select
from starlette.requests import HTTPConnection

from app.api.auth import Key, Scope, find_key
from app.api.dependencies import Services
from app.api.revocations import KeyRef
from app.db.tables import api_keys
from app.errors import AftercallError
from app.ids import UNBOUND_ACCOUNT
from app.settings import LOCAL_HOSTS
from app.vault import Vault

SESSION_HOURS = 12
REFUSAL_SECONDS = 0.8
"""What a wrong key costs whoever tries it."""

LONGEST_FORM_BYTES = 4096
_MOST_OF_ONE, _MOST_OF_ALL = 8, 64
"""Wrong keys that wait for their answer at once, of one client and of all."""
RETRY_SECONDS = 1
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: `account_id` None sees all accounts. Only a key's bearer may see numbers in full.

    `is_admin`: may also change something, within what he sees.
    """

    account_id: str | None
    may_unmask: bool
    signed_in_as: str | None = None
    is_admin: bool = False
    key: KeyRef | None = None
    """With which he signed in."""

    @property
    def oversees(self) -> bool:
        """Whether he administers the service, and not one account alone."""
        return self.is_admin and self.account_id in (None, UNBOUND_ACCOUNT)


@dataclass(frozen=True, slots=True)
class DashboardSession:
    """What the cookie says: which key of which account, until when."""

    owner: str
    key_id: str
    until: datetime


class TooManySignIns(AftercallError):
    """Too many wrong keys at once. Nobody is told that his key is wrong: it may only be in bad company."""


class SignIn:
    """Checks viewers, and makes their cookies."""

    def __init__(self, services: Services, vault: Vault) -> None:
        self._services = services
        self._signing_key = vault.key_for("dashboard-session")
        self._delayed: Counter[str] = Counter()

    async def find_viewer(self, request: HTTPConnection) -> Viewer | None:
        """Return who looks, None for somebody who has to sign in first.

        Raises StorageUnavailable when the key could not be looked up.
        """
        session = self.read_cookie(request.cookies.get(self.cookie_name(request)), self._services.clock.now())
        if session is not None:
            viewer = await self._find_signed_in(session)
            if viewer is not None:
                return viewer
        if is_this_machine(request, public=not self._services.settings.is_local):
            return Viewer(account_id=None, may_unmask=False, is_admin=True)
        return None

    async def _find_signed_in(self, session: DashboardSession) -> Viewer | None:
        query = select(api_keys.c.name, api_keys.c.scopes).where(
            api_keys.c.account_id == session.owner,
            api_keys.c.key_id == session.key_id,
            api_keys.c.revoked_at.is_(None),
        )
        async with self._services.database.read() as db:
            row = (await db.execute(query)).first()
        if row is None or not {Scope.CALLS_READ, Scope.ADMIN}.intersection(row.scopes):
            return None
        return Viewer(
            account_id=session.owner,
            may_unmask=True,
            signed_in_as=row.name,
            is_admin=Scope.ADMIN in row.scopes,
            key=KeyRef(session.owner, session.key_id),
        )

    async def try_key(self, plain: str, client: str) -> Key | None:
        """Return the key if it may look; None, after a while, if not. `client` is the address that asks.

        Keys are 256 random bits and compared by their digest in constant time: nobody guesses one, so a right key is
        always let in. The delay of wrong ones and the bound on delays at once keep guessers from costing us anything.

        Raises TooManySignIns when too many wrong keys are being answered, those of one address or of all.
        """
        async with self._services.database.read() as db:
            key = await find_key(db, plain)
        if key is not None and key.allows(Scope.CALLS_READ):
            return key
        whose = _network_of(client)
        if self._delayed[whose] >= _MOST_OF_ONE or self._delayed.total() >= _MOST_OF_ALL:
            raise TooManySignIns
        self._delayed[whose] += 1
        try:
            await self._services.clock.sleep(REFUSAL_SECONDS)
        finally:
            self._delayed[whose] -= 1
            if not self._delayed[whose]:
                del self._delayed[whose]
        return None

    def cookie_name(self, request: HTTPConnection) -> str:
        """Name the cookie; over https the prefix makes browsers hold it to this host."""
        return "__Host-aftercall" if self.is_https(request) else "aftercall"

    def is_https(self, request: HTTPConnection) -> bool:
        """Whether the browser came over https, behind a proxy too."""
        return request.url.scheme == "https" or (self._services.settings.public_url or "").startswith(
            "https:"
        )

    def make_cookie(self, key: Key, now: datetime) -> str:
        """Return the signed session of a key."""
        until = now + timedelta(hours=SESSION_HOURS)
        content = json.dumps({"owner": key.owner, "key": key.key_id, "until": until.isoformat()}).encode()
        return f"{_encode(content)}.{_encode(self._sign(content))}"

    def read_cookie(self, cookie: str | None, now: datetime) -> DashboardSession | None:
        """Return the session of a cookie of ours that has not run out; None for anything else."""
        try:
            content, signature = (urlsafe_b64decode(part) for part in (cookie or "").split("."))
            if not hmac.compare_digest(signature, self._sign(content)):
                return None
            said = json.loads(content)
            session = DashboardSession(said["owner"], said["key"], datetime.fromisoformat(said["until"]))
        except (ValueError, NotBase64, KeyError, TypeError):
            return None
        return session if now < session.until else None

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self._signing_key, content, hashlib.sha256)


def is_this_machine(request: HTTPConnection, *, public: bool) -> bool:
    """Whether somebody at this machine looks at a service that is meant for this machine.

    The address alone would not do: a proxy on this machine has it too, and so has a foreign page whose host name
    was made to point here (DNS rebinding), which is why the `Host` has to be local as well.
    """
    if public or request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        near = ip_address(request.client.host).is_loopback
    except ValueError:
        return False
    return near and request.url.hostname in LOCAL_HOSTS


def is_own_page(headers: Mapping[str, str], host: str, public_url: str | None) -> bool:
    """Whether a form was sent from a page of ours. What sends neither header is no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        came_from = urlsplit(origin).netloc
    except ValueError:  # brackets without an IPv6 address in them
        return False
    return came_from in {host, urlsplit(public_url or "").netloc} - {""}


def _network_of(client: str) -> str:
    """Return what counts as one client: an IPv4 address, and of IPv6 the /64 that a household or a server has."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else client


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).decode()
