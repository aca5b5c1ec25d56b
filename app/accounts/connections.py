"""All connections of this process: whose credentials serve which account.

A connection acts as one user of one app and has rate buckets of its own. One with company permission shows
every extension's calls; one without (CMN-408) shows those of its own extension. A refusal reveals which it
is; that is remembered, and tried again from time to time in case the permission was granted. A permission
missing for something else than reading calls, recordings for instance, is remembered separately and stops
nothing. What a person has to do is recorded per connection: those of one account can have different problems.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import httpx
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import Access, Level
from app.accounts.connection import Connection as Connection
from app.accounts.connection import Connector
from app.accounts.connection import pooled as pooled
from app.accounts.connection import serving as serving
from app.accounts.credentials import OWN, CredentialRow, Version, load_rows, load_version
from app.accounts.stored_access import AccessRecords
from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.settings import Settings
from app.vault import Vault

_FRESH_SECONDS = 15.0
_LONGEST_SECONDS = 300.0
"""How long a snapshot is used at most. That it is still valid is checked more often."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All connections as they were `read_at`; valid until one of them is to be tried again, `probe_at`."""

    connections: Sequence[Connection]
    version: Version
    read_at: float
    probe_at: datetime | None


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
        self._snapshot: _Snapshot | None = None
        self._checked_at = 0.0
        self._changes = 0
        """What was read before the last change is not kept."""

    async def of(self, account_id: AccountId) -> Sequence[Connection]:
        """Return the connections that serve an account, company-wide ones first; possibly none."""
        return (await self.of_all([account_id]))[account_id]

    async def of_all(self, account_ids: Collection[AccountId]) -> dict[AccountId, Sequence[Connection]]:
        """Return the same of several accounts. The database is read once for those that are not known.

        Until something may have changed, the same object is returned.
        """
        now = self._clock.monotonic()
        found: dict[AccountId, Sequence[Connection]] = {}
        for account_id in account_ids:
            known = self._known.get(account_id)
            if known is not None and now - known[0] < _FRESH_SECONDS:
                found[account_id] = known[1]
        missing = [account_id for account_id in account_ids if account_id not in found]
        if missing:
            changes = self._changes
            loaded = await self._load(missing)
            if changes == self._changes:
                self._known |= {one: (self._clock.monotonic(), loaded[one]) for one in missing}
            found |= loaded
        return found

    async def all(self) -> Sequence[Connection]:
        """Return all connections, each once, by holder; within a holder company-wide ones first."""
        async with self._database.read() as db:
            rows = await self._rows(db, None)
        return self._sorted(rows)

    async def snapshot(self) -> Sequence[Connection]:
        """Return the same as of the last seconds, and the same object until something has changed.

        For loops that look at all of them all the time: reading every credential would cost the more, the
        more accounts there are. A change wakes `CREDENTIALS`, which forgets the snapshot; where wake-ups do
        not arrive it is noticed after some seconds.
        """
        kept, now = self._snapshot, self._clock.monotonic()
        if kept is not None and await self._holds(kept, now):
            return kept.connections
        changes = self._changes
        async with self._database.read() as db:
            # Before the rows: what changes in between makes a newer version.
            version = await load_version(db)
            rows = await self._rows(db, None)
        connections = self._sorted(rows)
        moment = self._clock.now()
        probes = [one.access.probe_at for one in connections if one.access.probe_at is not None]
        probe_at = min((at for at in probes if at > moment), default=None)
        if changes == self._changes:
            self._snapshot = _Snapshot(connections, version, now, probe_at)
            self._checked_at = now
        return connections

    async def _holds(self, kept: _Snapshot, now: float) -> bool:
        if kept.probe_at is not None and self._clock.now() >= kept.probe_at:
            return False
        if now - kept.read_at >= _LONGEST_SECONDS:
            return False
        if now - self._checked_at < _FRESH_SECONDS:
            return True
        async with self._database.read() as db:
            version = await load_version(db)
        self._checked_at = now
        return version == kept.version and self._snapshot is kept

    def _sorted(self, rows: Sequence[CredentialRow]) -> Sequence[Connection]:
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
        self._snapshot = None
        self._changes += 1

    async def _load(self, account_ids: Sequence[AccountId]) -> dict[AccountId, Sequence[Connection]]:
        async with self._database.read() as db:
            own = await accounts.resolve(db, UNBOUND_ACCOUNT)
            holders = {*account_ids, *([UNBOUND_ACCOUNT] if own in account_ids else [])}
            rows = await self._rows(db, sorted(holders))
        made: dict[AccountId, list[Connection]] = {holder: [] for holder in holders}
        for item in self._connected(rows):
            made[item.holder].append(item)
        if own != UNBOUND_ACCOUNT and own in made:
            # The service's own credentials serve the account to which `~` is bound.
            made[own] = made[own] + made[UNBOUND_ACCOUNT]
        return {
            account_id: sorted(made[account_id], key=lambda item: (not item.is_company_wide, item.name))
            for account_id in account_ids
        }

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
