"""All connections of this process: whose credentials serve which account.

A connection acts as one user of one app and has rate buckets of its own. One with company permission shows
every extension's calls; one without (CMN-408) shows those of its own extension. A refusal reveals which it
is; that is remembered, and tried again from time to time in case the permission was granted. A permission
missing for something else than reading calls, recordings for instance, is remembered separately and stops
nothing. What a person has to do is recorded per connection: those of one account can have different problems.
"""

from collections.abc import Sequence
from dataclasses import replace

import httpx
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import Access, Level
from app.accounts.connection import Connection as Connection
from app.accounts.connection import Connector
from app.accounts.connection import pooled as pooled
from app.accounts.connection import serving as serving
from app.accounts.credentials import OWN, CredentialRow, load_rows
from app.accounts.stored_access import AccessRecords
from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.settings import Settings
from app.vault import Vault

_FRESH_SECONDS = 15.0

log = structlog.get_logger(__name__)


class Connections(AccessRecords):
    """The connections, made when first needed. Who has which credentials is in the database."""

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
        super().__init__(database, clock)
        self._has_own = settings.has_credentials
        self._connector = Connector(settings, database, clock, vault, http, replica=replica)
        self.meter, self.reach = self._connector.meters.skew, self._connector.meters.reach
        self._made: dict[tuple[AccountId, str], Connection] = {}
        self._known: dict[AccountId, tuple[float, Sequence[Connection]]] = {}

    async def of(self, account_id: AccountId) -> Sequence[Connection]:
        """Return the connections that serve an account, company-wide ones first; possibly none."""
        known = self._known.get(account_id)
        if known is not None and self._clock.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        found = await self._load(account_id)
        self._known[account_id] = (self._clock.monotonic(), found)
        return found

    async def all(self) -> Sequence[Connection]:
        """Return all connections, each once, by holder; within a holder company-wide ones first."""
        async with self._database.read() as db:
            rows = await self._rows(db, None)
        return sorted(
            self._connected(rows), key=lambda item: (item.holder, not item.is_company_wide, item.name)
        )

    async def best(self, account_id: AccountId) -> Connection | None:
        """Return the connection that can access most, one without a problem if possible; None if there is
        none.
        """
        connections = await self.of(account_id)
        well = [connection for connection in connections if connection.access.problem is None]
        return next(iter(well or connections), None)

    async def own(self) -> Connection | None:
        """Return the connection of the credentials in the environment."""
        return next(iter(await self.of(UNBOUND_ACCOUNT)), None)

    def forget(self) -> None:
        """Read the database again at the next call."""
        self._known.clear()

    async def _load(self, account_id: AccountId) -> Sequence[Connection]:
        async with self._database.read() as db:
            holders = [account_id]
            if account_id != UNBOUND_ACCOUNT and await accounts.has_own_credentials(db, account_id):
                holders.append(UNBOUND_ACCOUNT)
            rows = await self._rows(db, holders)
        return sorted(self._connected(rows), key=lambda item: (not item.is_company_wide, item.name))

    async def _rows(self, db: AsyncConnection, holders: Sequence[AccountId] | None) -> list[CredentialRow]:
        """Return the credentials of these holders (None: of all), those of the environment included."""
        rows = await load_rows(db, holders)
        wants_own = holders is None or UNBOUND_ACCOUNT in holders
        if wants_own and self._has_own and not any(row.kind == OWN for row in rows):
            # The environment's have no row until something is recorded about them.
            rows.append(CredentialRow(UNBOUND_ACCOUNT, OWN, OWN))
        return rows

    def _connected(self, rows: Sequence[CredentialRow]) -> list[Connection]:
        return [made for row in rows if (made := self._connect(row)) is not None]

    def _connect(self, row: CredentialRow) -> Connection | None:
        try:
            made = self._made.get((row.account_id, row.name))
            if made is None or made.secret != row.secret:
                made = self._open(row)
                if made is None:
                    return None
                self._made[row.account_id, row.name] = made
            return replace(made, access=self._probed(Access.known(row.access, made.access.fingerprint)))
        except (ValueError, TypeError, KeyError, AttributeError):
            # One row that cannot be read must not stop the other accounts.
            log.exception("credentials cannot be read", account_id=row.account_id, name=row.name)
            return None

    def _open(self, row: CredentialRow) -> Connection | None:
        return self._connector.connect(row)

    def _probed(self, access: Access) -> Access:
        """Try the whole account again when it is time."""
        if access.probe_at is not None and self._clock.now() >= access.probe_at:
            return replace(access, level=Level.ACCOUNT, problem=None)
        return access
