"""Who may see the dashboard.

Without signing in: only viewers on this machine, and only while the service is meant for this machine alone.
Others sign in with an API key; the browser stores a signed cookie, never the key. The key is looked up again
at every request, so revoking it ends the session. Why: docs/decisions/dashboard-access.md.
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

from app.api.dependencies import Services
from app.api.known_keys import Key, Scope, find_key
from app.api.revocations import KeyRef
from app.db.tables import api_keys
from app.errors import AftercallError
from app.ids import UNBOUND_ACCOUNT
from app.settings import LOCAL_HOSTS
from app.vault import Vault

SESSION_HOURS = 12
REFUSAL_SECONDS = 0.8
"""How long the response to a wrong key is delayed."""

LONGEST_FORM_BYTES = 4096
_MOST_OF_ONE, _MOST_OF_ALL = 8, 64
"""Wrong keys whose responses are delayed at the same time, of one client and of all."""
RETRY_SECONDS = 1
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who sees the dashboard; `account_id` None sees all accounts. Only the bearer of a key may see full
    numbers.

    `is_admin`: may also change something of what he sees. `key` is what he signed in with.
    """

    account_id: str | None
    may_unmask: bool
    signed_in_as: str | None = None
    is_admin: bool = False
    key: KeyRef | None = None

    @property
    def oversees(self) -> bool:
        """Whether he administers the service, not a single account."""
        return self.is_admin and self.account_id in (None, UNBOUND_ACCOUNT)


@dataclass(frozen=True, slots=True)
class DashboardSession:
    """The content of the cookie: which key of which account, until when."""

    owner: str
    key_id: str
    until: datetime


class TooManySignIns(AftercallError):
    """Too many wrong keys at once. This key was not found to be wrong."""


class SignIn:
    """Identifies viewers, and makes their cookies."""

    def __init__(self, services: Services, vault: Vault) -> None:
        self._services = services
        self._signing_key = vault.key_for("dashboard-session")
        self._delayed: Counter[str] = Counter()

    async def find_viewer(self, request: HTTPConnection) -> Viewer | None:
        """Return the viewer, None if a sign-in is needed. Raises StorageUnavailable."""
        session = self.read_cookie(request.cookies.get(self.cookie_name(request)), self._services.clock.now())
        # A cookie counts even on this machine: its viewer may see full numbers.
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
        """Return the key if it may read calls, else None after a delay. `client` is the address of the
        request.

        Keys are 256 random bits and found by their digest, so they cannot be guessed, and a valid key is
        always accepted. The delay and the bound on simultaneous delays limit what guessing
        costs the service.

        Raises TooManySignIns when too many wrong keys are being delayed, of this address or of all.
        """
        async with self._services.database.read() as db:
            key = await find_key(db, plain)
        if key is not None and key.allows(Scope.CALLS_READ):
            return key
        network = _network_of(client)
        if self._delayed[network] >= _MOST_OF_ONE or self._delayed.total() >= _MOST_OF_ALL:
            raise TooManySignIns
        self._delayed[network] += 1
        # Only wrong keys wait. A valid one is accepted above, however many wrong ones there are.
        try:
            await self._services.clock.sleep(REFUSAL_SECONDS)
        finally:
            self._delayed[network] -= 1
            # The counter must not grow with every address that ever sent a wrong key.
            if not self._delayed[network]:
                del self._delayed[network]
        return None

    def cookie_name(self, request: HTTPConnection) -> str:
        """Return the name of the cookie; over https its prefix makes browsers bind it to this host."""
        return "__Host-aftercall" if self.is_https(request) else "aftercall"

    def is_https(self, request: HTTPConnection) -> bool:
        """Whether the browser uses https, perhaps through a proxy."""
        return request.url.scheme == "https" or (self._services.settings.public_url or "").startswith(
            "https:"
        )

    def make_cookie(self, key: Key, now: datetime) -> str:
        """Return the signed session of a key."""
        until = now + timedelta(hours=SESSION_HOURS)
        content = json.dumps({"owner": key.owner, "key": key.key_id, "until": until.isoformat()}).encode()
        return f"{_encode(content)}.{_encode(self._sign(content))}"

    def read_cookie(self, cookie: str | None, now: datetime) -> DashboardSession | None:
        """Return the session of a cookie of ours that has not expired; None for anything else."""
        try:
            # The signature is compared before the content is parsed.
            content, signature = (urlsafe_b64decode(part) for part in (cookie or "").split("."))
            if not hmac.compare_digest(signature, self._sign(content)):
                return None
            values = json.loads(content)
            session = DashboardSession(
                values["owner"], values["key"], datetime.fromisoformat(values["until"])
            )
        except (ValueError, NotBase64, KeyError, TypeError):
            return None
        return session if now < session.until else None

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self._signing_key, content, hashlib.sha256)


def is_this_machine(request: HTTPConnection, *, public: bool) -> bool:
    """Whether the request comes from this machine, to a service that is meant for this machine.

    The address alone does not prove it: a proxy on this machine has it too, and so has a foreign page whose
    host name resolves to this machine (DNS rebinding). Hence the `Host` has to be local as well.
    """
    if public or request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        is_loopback = ip_address(request.client.host).is_loopback
    except ValueError:
        return False
    return is_loopback and request.url.hostname in LOCAL_HOSTS


def is_own_page(headers: Mapping[str, str], host: str, public_url: str | None) -> bool:
    """Whether a form was sent from a page of ours. A client that sends neither header is not a browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        sender = urlsplit(origin).netloc
    except ValueError:  # brackets without an IPv6 address in them
        return False
    return sender in {host, urlsplit(public_url or "").netloc} - {""}


def _network_of(client: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else client


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).decode()
