"""The ways into RingCentral that this service has: whose credentials serve which account, and how far they reach.

A connection acts as one user of one app and has rate buckets of its own. One with company permission shows
every extension's calls, one without (CMN-408) those of its own extension alone; that is found out by being
refused, remembered, and tried again now and then in case somebody has granted it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import httpx
import structlog
from cryptography.fernet import InvalidToken
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import credentials
from app.enrichment.budget import Limits
from app.enrichment.rates import SharedRates
from app.enrichment.tokens import SharedTokens
from app.enrichment.troubles import describe
from app.errors import CredentialsRefused, PermissionMissing, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.ringcentral.auth import AuthConfig
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.transport import ClientConfig
from app.settings import Settings
from app.vault import Vault

OWN = "own"
"""The name of the credentials in the environment; their holder is `~`."""

COMPANY_PERMISSION = "CMN-408"
_PROBE_AGAIN = timedelta(hours=1)
_FRESH_SECONDS = 15.0

log = structlog.get_logger(__name__)


class Level(StrEnum):
    """How far credentials reach."""

    ACCOUNT = "account"
    EXTENSION = "extension"


@dataclass(frozen=True, slots=True)
class Access:
    """What is known of a connection's rights. `problem` is what a person has to do, None when all is well."""

    level: Level = Level.ACCOUNT
    extension_id: ExtensionId | None = None
    problem: dict[str, Any] | None = None
    probe_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.level.value,
            "extensionId": self.extension_id,
            "problem": self.problem,
            "probeAt": self.probe_at.isoformat() if self.probe_at else None,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "Access":
        stored = stored or {}
        probe_at = stored.get("probeAt")
        return cls(
            level=Level(stored.get("level", Level.ACCOUNT)),
            extension_id=stored.get("extensionId"),
            problem=stored.get("problem"),
            probe_at=datetime.fromisoformat(probe_at) if probe_at else None,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """One user's way into one account."""

    holder: AccountId
    name: str
    client: RingCentralClient = field(repr=False)
    rates: SharedRates = field(repr=False)
    access: Access = Access()

    @property
    def is_company_wide(self) -> bool:
        return self.access.level is Level.ACCOUNT

    @property
    def extension_id(self) -> ExtensionId | None:
        """Whose calls it shows; None: everybody's."""
        return None if self.is_company_wide else self.access.extension_id


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: str
    secret: bytes | None
    access: dict[str, Any] | None


class Connections:
    """All connections of this process, made when first needed. Who has which credentials is in the database."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        vault: Vault,
        http: httpx.AsyncClient,
        *,
        replica: str,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._vault = vault
        self._http = http
        self._replica = replica
        self._made: dict[tuple[AccountId, str], tuple[bytes | None, Connection]] = {}
        self._known: dict[AccountId, tuple[float, Sequence[Connection]]] = {}

    async def of(self, account_id: AccountId) -> Sequence[Connection]:
        """Return the connections that serve an account, company-wide ones first; none is an answer too."""
        known = self._known.get(account_id)
        if known is not None and self._clock.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        found = await self._load(account_id)
        self._known[account_id] = (self._clock.monotonic(), found)
        return found

    async def all(self) -> Sequence[Connection]:
        """Return every connection of every holder, each once; within a holder company-wide ones first.

        `Connection.holder` is `~` for the credentials of the environment, else the account's id.
        """
        async with self._database.read() as db:
            rows = await self._rows(db, None)
        return self._connected(rows)

    async def best(self, account_id: AccountId) -> Connection | None:
        """Return the connection that reaches farthest and has no problem; None when there is none."""
        connections = await self.of(account_id)
        well = [connection for connection in connections if connection.access.problem is None]
        return next(iter(well or connections), None)

    async def own(self) -> Connection | None:
        """Return the connection of the credentials in the environment."""
        return next(iter(await self.of(UNBOUND_ACCOUNT)), None)

    def forget(self) -> None:
        """Look into the database again at the next question."""
        self._known.clear()

    async def _load(self, account_id: AccountId) -> Sequence[Connection]:
        async with self._database.read() as db:
            holders = [account_id]
            if account_id != UNBOUND_ACCOUNT and await accounts.has_own_credentials(db, account_id):
                holders.append(UNBOUND_ACCOUNT)
            rows = await self._rows(db, holders)
        made = self._connected(rows)
        return sorted(made, key=lambda connection: (not connection.is_company_wide, connection.name))

    async def _rows(
        self, db: AsyncConnection, holders: Sequence[AccountId] | None
    ) -> list[tuple[AccountId, _Row]]:
        """Return whose credentials there are, those of the environment included; None: of all holders."""
        query = select(
            credentials.c.account_id,
            credentials.c.name,
            credentials.c.kind,
            credentials.c.secret,
            credentials.c.access,
        )
        if holders is not None:
            query = query.where(credentials.c.account_id.in_(holders))
        rows = [
            (AccountId(row.account_id), _Row(row.name, row.kind, row.secret, row.access))
            for row in await db.execute(query)
        ]
        wants_own = holders is None or UNBOUND_ACCOUNT in holders
        if wants_own and self._settings.has_credentials and not any(row.kind == OWN for _, row in rows):
            rows.append((UNBOUND_ACCOUNT, _Row(OWN, OWN, None, None)))
        return rows

    def _connected(self, rows: Sequence[tuple[AccountId, _Row]]) -> list[Connection]:
        made = [made for holder, row in rows if (made := self._connect(holder, row)) is not None]
        return sorted(made, key=lambda item: (item.holder, not item.is_company_wide, item.name))

    def _connect(self, holder: AccountId, row: _Row) -> Connection | None:
        key = (holder, row.name)
        access = self._probed(Access.from_json(row.access))
        made = self._made.get(key)
        if made is not None and made[0] == row.secret:
            connection = replace(made[1], access=access)
        else:
            auth = self._auth(row)
            if auth is None:
                return None
            connection = self._open(holder, row.name, auth, access)
        self._made[key] = (row.secret, connection)
        return connection

    def _probed(self, access: Access) -> Access:
        """Try the whole account again when the time for it has come."""
        if access.probe_at is not None and self._clock.now() >= access.probe_at:
            return replace(access, level=Level.ACCOUNT, problem=None)
        return access

    def _auth(self, row: _Row) -> AuthConfig | None:
        settings = self._settings
        common = {
            "server_url": settings.rc_server_url,
            "request_seconds": settings.rc_timeout_seconds,
            "penalty_seconds": settings.rate_limit_penalty_seconds,
        }
        if row.kind == OWN:
            if settings.rc_client_id is None or settings.rc_client_secret is None or settings.rc_jwt is None:
                return None
            return AuthConfig(
                client_id=settings.rc_client_id,
                client_secret=settings.rc_client_secret.get_secret_value(),
                jwt=settings.rc_jwt.get_secret_value(),
                **common,  # type: ignore[arg-type]
            )
        try:
            secret = json.loads(self._vault.decrypt(row.secret or b""))
        except InvalidToken:
            log.warning("credentials were encrypted with another AFTERCALL_SECRET_KEY", name=row.name)
            return None
        return AuthConfig(
            client_id=secret["clientId"],
            client_secret=secret["clientSecret"],
            jwt=secret["jwt"],
            **common,  # type: ignore[arg-type]
        )

    def _open(self, holder: AccountId, name: str, auth: AuthConfig, access: Access) -> Connection:
        settings = self._settings
        rates = SharedRates(
            self._database,
            self._clock,
            rate_limits(settings),
            holder=holder,
            principal=name,
            longest_wait_seconds=settings.rate_limit_window_seconds,
        )
        tokens = SharedTokens(
            self._database,
            self._clock,
            self._vault,
            replica=self._replica,
            lease_seconds=auth.longest_grant_seconds,
            holder=holder,
            name=name,
        )
        config = ClientConfig(
            server_url=settings.rc_server_url,
            media_url=settings.rc_media_url,
            timeout_seconds=settings.rc_timeout_seconds,
            backoff_seconds=settings.active_calls_window_seconds / 60,
            penalty_seconds=settings.rate_limit_penalty_seconds,
        )
        client = connect(self._http, config, auth, store=tokens, budget=rates, clock=self._clock)
        return Connection(holder, name, client, rates, access)

    async def note(self, connection: Connection, error: RingCentralError | None) -> None:
        """Remember what an answer said of a connection's rights: refused the company, refused at all, or fine."""
        access = await self._access_after(connection, error)
        if access is None or access == connection.access:
            return
        log.info(
            "a connection's rights have changed",
            name=connection.name,
            level=access.level,
            problem=access.problem,
        )
        values = {"access": access.to_json(), "updated_at": self._clock.now()}
        key = {"account_id": connection.holder, "name": connection.name}
        async with self._database.write() as db:
            insert = upsert_into(db, credentials).values({**key, **values})
            await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))
        self.forget()

    async def _access_after(self, connection: Connection, error: RingCentralError | None) -> Access | None:
        now = self._clock.now()
        if error is None:
            keeps_probe = connection.access.probe_at if not connection.is_company_wide else None
            return replace(connection.access, problem=None, probe_at=keeps_probe)
        if (
            isinstance(error, PermissionMissing)
            and error.code == COMPANY_PERMISSION
            and connection.is_company_wide
        ):
            owner = (await connection.client.fetch_token()).owner_id
            return Access(Level.EXTENSION, ExtensionId(owner) if owner else None, None, now + _PROBE_AGAIN)
        if isinstance(error, PermissionMissing | CredentialsRefused):
            problem = describe(error) or {}
            since = (connection.access.problem or {}).get("since") or now.isoformat()
            return replace(
                connection.access, problem={**problem, "since": since}, probe_at=now + _PROBE_AGAIN / 12
            )
        return None


def rate_limits(settings: Settings) -> dict[str, Limits]:
    """Return what RingCentral allows by group, until its headers say otherwise."""
    groups = {
        "heavy": settings.rate_limit_heavy,
        "medium": settings.rate_limit_medium,
        "light": settings.rate_limit_light,
        "auth": settings.rate_limit_auth,
    }
    return {
        group: Limits(
            limit=limit,
            window_seconds=settings.rate_limit_window_seconds,
            penalty_seconds=settings.rate_limit_penalty_seconds,
            request_timeout_seconds=settings.rc_timeout_seconds * 2,
        )
        for group, limit in groups.items()
    }
