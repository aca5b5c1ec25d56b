"""The ways into RingCentral that this service has: whose credentials serve which account, and how far they reach.

A connection acts as one user of one app and has rate buckets of its own. One with company permission shows
every extension's calls, one without (CMN-408) those of its own extension alone; that is found out by being
refused, remembered, and tried again now and then in case somebody has granted it. A right that is missing for
something else than reading calls, recordings for instance, is remembered beside and stops nothing. What a person
has to do stands here, with each connection: those of one account can want different things.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import structlog
from cryptography.fernet import InvalidToken
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import Access, Level, _after, _lacks_company, _of_account, _visible
from app.accounts.credentials import OWN, Secret
from app.accounts.shared_token import SharedTokenStore
from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database, upsert_into, wake
from app.db.tables import credentials
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.rate_limits.bucket import Limits
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.auth import AuthConfig
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.stored_tokens import StoredToken, load_refusal
from app.ringcentral.transport import ClientConfig, Meters
from app.settings import Settings
from app.vault import Vault
from app.work.wakeups import POLLS, READINGS, SUBSCRIPTIONS

_FRESH_SECONDS = 15.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """One user's way into one account."""

    holder: AccountId
    name: str
    client: RingCentralClient = field(repr=False)
    rates: SharedRates = field(repr=False)
    access: Access = field(default_factory=Access)
    kind: str = OWN
    """`own` (the environment's), `jwt` or `oauth` (somebody signed in)."""
    secret: bytes | None = field(default=None, repr=False)
    """As it is stored; the environment's is not."""

    @property
    def is_company_wide(self) -> bool:
        return self.access.level is Level.ACCOUNT

    @property
    def extension_id(self) -> ExtensionId | None:
        """Whose calls it shows; None: everybody's."""
        return None if self.is_company_wide else self.access.extension_id


def serving(connections: Sequence[Connection], *, beside_polls: bool = False) -> Sequence[Connection]:
    """Choose whom to ask for an account's calls: one that shows them all, else each user for his own.

    Those with a problem are left out. Of several company-wide ones the first polls and the last does what goes on
    `beside_polls`: a second service user has buckets of his own.
    """
    well = [connection for connection in connections if connection.access.problem is None]
    company_wide = [item for item in well if item.is_company_wide]
    return (company_wide[-1:] if beside_polls else company_wide[:1]) or well


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
        self._meters = Meters.made(clock)
        self.meter, self.reach = self._meters.skew, self._meters.reach
        self._made: dict[tuple[AccountId, str], Connection] = {}
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
        made = [made for holder, row in rows if (made := self._connect_alone(holder, row)) is not None]
        return sorted(made, key=lambda item: (item.holder, not item.is_company_wide, item.name))

    def _connect_alone(self, holder: AccountId, row: _Row) -> Connection | None:
        """Leave out a row that cannot be read at all: the other accounts are served."""
        try:
            return self._connect(holder, row)
        except (ValueError, TypeError, KeyError, AttributeError):
            log.exception("credentials cannot be read", account_id=holder, name=row.name)
            return None

    def _connect(self, holder: AccountId, row: _Row) -> Connection | None:
        key = (holder, row.name)
        made = self._made.get(key)
        if made is None or made.secret != row.secret:
            auth = self._auth(holder, row)
            if auth is None:
                return None
            opened = self._open(holder, row.name, auth, Access(fingerprint=auth.fingerprint))
            made = self._made[key] = replace(opened, kind=row.kind, secret=row.secret)
        return replace(made, access=self._probed(Access.known(row.access, made.access.fingerprint)))

    def _probed(self, access: Access) -> Access:
        """Try the whole account again when the time for it has come."""
        if access.probe_at is not None and self._clock.now() >= access.probe_at:
            return replace(access, level=Level.ACCOUNT, problem=None)
        return access

    def _auth(self, holder: AccountId, row: _Row) -> AuthConfig | None:
        """Return what to sign in with; None if this process cannot use these credentials."""
        settings = self._settings
        if row.kind == OWN:
            return own_auth(settings) if holder == UNBOUND_ACCOUNT else None
        try:
            secret = Secret.load(self._vault.decrypt(row.secret or b""))
        except InvalidToken:
            log.warning(
                "credentials were encrypted with another AFTERCALL_SECRET_KEY",
                account_id=holder,
                name=row.name,
            )
            return None
        auth = auth_config(settings, secret)
        if auth is None:
            log.warning(
                "credentials belong to another app than RC_CLIENT_ID names", account_id=holder, name=row.name
            )
        return auth

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
        tokens = SharedTokenStore(
            self._database,
            self._clock,
            self._vault,
            replica=self._replica,
            lease_seconds=settings.short_lease_seconds,
            longest_seconds=auth.longest_grant_seconds,
            holder=holder,
            name=name,
        )
        client = connect(
            self._http,
            client_config(settings),
            auth,
            store=tokens,
            budget=rates,
            clock=self._clock,
            meters=self._meters,
        )
        return Connection(holder, name, client, rates, access)

    async def note(self, connection: Connection, error: RingCentralError | None) -> None:
        """Remember what an answer said of a connection's rights: refused the company, refused at all, or fine.

        What others have noted of it meanwhile stays.
        """
        if error is not None and not isinstance(error, PermissionMissing | CredentialsRefused):
            return
        asked, now = connection.access, self._clock.now()
        owner = None
        if _lacks_company(asked, error):
            owner = (await connection.client.fetch_token()).owner_id
        kind = connection.kind
        await self._change(connection, lambda before: _after(before, asked, error, owner, kind, now))

    async def note_account(self, connection: Connection, error: RingCentralError | None) -> None:
        """Remember that credentials are of another account than the events, or that all is well with that."""
        now = self._clock.now()
        await self._change(connection, lambda before: _of_account(before, error, now))

    async def _change(self, connection: Connection, change: Callable[[Access], Access]) -> None:
        """Write down what is new to us, into what may have become known meanwhile."""
        if change(connection.access) == connection.access:
            return
        async with self._database.write() as db:
            before = await self._stored_access(db, connection)
            access = change(before)
            await self._store_access(db, connection, access)
        if _visible(access) != _visible(before):
            log.info(
                "a connection's rights have changed",
                account_id=connection.holder,
                name=connection.name,
                reach=access.level.value,
                problem=access.problem,
                lacks=sorted(access.lacks),
            )
        self.forget()

    async def forget_refusal(self, connection: Connection, *, at_least_old: float = 0.0) -> bool:
        """Let RingCentral be asked again at once what it has refused `at_least_old` seconds ago or more.

        For a restart and for somebody who looks on. Return False when the refusal is too fresh for that. A sign-in that
        is over stays so. How long the refusal has lasted is kept: after another one, the pause is as long as before.
        """
        mine, now = _row_of(connection), self._clock.now()
        async with self._database.write() as db:
            refusal = load_refusal(
                await db.scalar(select(credentials.c.refused).where(mine).with_for_update())
            )
            if refusal is None or refusal.code == AccessReason.SIGN_IN_AGAIN or refusal.until <= now:
                return True
            if refusal.at is not None and (now - refusal.at).total_seconds() < at_least_old:
                return False
            expired = replace(refusal, until=now).dump()
            await db.execute(update(credentials).where(mine).values(refused=expired))
        return True

    async def forget_problem(self, connection: Connection) -> None:
        """Let a connection be used again that has a token and was left out for a problem: the next answer tells."""
        if connection.access.problem is None:
            return
        await self._change(connection, _without_problem)
        async with self._database.write() as db:
            wake(db, POLLS, READINGS, SUBSCRIPTIONS)

    async def learn_scopes(self, connection: Connection, token: StoredToken) -> None:
        """Remember whose token this is and what it may do, for whoever looks without asking RingCentral."""
        owner, scopes = ExtensionId(token.owner_id) if token.owner_id else None, tuple(token.scopes)
        if (connection.access.owner_id, connection.access.scopes) == (owner, scopes):
            return
        async with self._database.write() as db:
            before = await self._stored_access(db, connection)
            await self._store_access(db, connection, replace(before, owner_id=owner, scopes=scopes))
        self.forget()

    async def _stored_access(self, db: AsyncConnection, connection: Connection) -> Access:
        stored = select(credentials.c.access).where(_row_of(connection)).with_for_update()
        return Access.known(await db.scalar(stored), connection.access.fingerprint)

    async def _store_access(self, db: AsyncConnection, connection: Connection, access: Access) -> None:
        values = {"access": access.to_json(), "updated_at": self._clock.now()}
        if connection.holder != UNBOUND_ACCOUNT:  # a row that is gone was removed or replaced, and stays so
            await db.execute(update(credentials).where(_row_of(connection)).values(values))
            return
        key = {"account_id": connection.holder, "name": connection.name}
        insert = upsert_into(db, credentials).values({**key, **values})
        await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))


def _without_problem(access: Access) -> Access:
    is_whole = access.level is Level.ACCOUNT
    return replace(access, problem=None, probe_at=None if is_whole else access.probe_at)


def _row_of(connection: Connection) -> ColumnElement[bool]:
    """Of others that have taken the place of a connection's credentials nothing is known through it."""
    mine = (credentials.c.account_id == connection.holder) & (credentials.c.name == connection.name)
    return mine if connection.kind == OWN else mine & (credentials.c.secret == connection.secret)


def own_auth(settings: Settings) -> AuthConfig | None:
    """Return what to sign in with by the credentials of the environment; None where they are not complete."""
    if not settings.has_credentials or settings.rc_client_id is None or settings.rc_jwt is None:
        return None
    return auth_config(settings, Secret(settings.rc_client_id, jwt=settings.rc_jwt.get_secret_value()))


def auth_config(settings: Settings, secret: Secret) -> AuthConfig | None:
    """Return what to sign in with. None for a secret of the environment's app when that is another app by now."""
    client_secret = secret.client_secret
    if client_secret is None:
        if settings.rc_client_secret is None or secret.client_id != settings.rc_client_id:
            return None
        client_secret = settings.rc_client_secret.get_secret_value()
    return AuthConfig(
        client_id=secret.client_id,
        client_secret=client_secret,
        jwt=secret.jwt,
        sign_in=secret.sign_in,
        server_url=settings.rc_server_url,
        request_seconds=settings.rc_timeout_seconds,
        penalty_seconds=settings.rate_limit_penalty_seconds,
    )


def client_config(settings: Settings) -> ClientConfig:
    """Return how to talk to RingCentral."""
    return ClientConfig(
        server_url=settings.rc_server_url,
        media_url=settings.rc_media_url,
        timeout_seconds=settings.rc_timeout_seconds,
        backoff_seconds=settings.active_calls_window_seconds / 60,
        penalty_seconds=settings.rate_limit_penalty_seconds,
    )


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
