"""Keeps the subscriptions of all accounts, side by side: a slow account delays no other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import structlog
from sqlalchemy import Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import CALL_READING
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.db.tables import credentials, subscriptions, work
from app.errors import RingCentralError, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.webhooks.subscriptions.choice import Wanted, of_extension
from app.webhooks.subscriptions.keeper import KIND, SubscriptionKeeper, kind_of, name_of
from app.work.lanes import Lanes, Serve
from app.work.wakeups import SUBSCRIPTIONS

LONGEST_TURN_SECONDS = 600.0
"""A few requests, each of which may wait for its budget, be tried again, and take as long as a handshake."""

_AFTER_OUTAGE_SECONDS = 1.0
"""From a turn that failed for lack of the database to the next one."""

_SHORTEST_PAUSE_SECONDS = 1.0

Key = tuple[AccountId, str]
"""Holder and name of a connection."""


class _Stored(NamedTuple):
    """What the supervisor needs of a stored subscription."""

    key: Key
    subscription_id: str
    renew_at: datetime | None
    refused_since: datetime | None


log = structlog.get_logger(__name__)


class SubscriptionSupervisor(AccountsWorker):
    """The keepers: one for each account with a company-wide connection, else one for each user."""

    def __init__(
        self,
        context: AccountsContext,
        wanted: Wanted,
        *,
        check_seconds: float,
        sweep_after_seconds: float,
    ) -> None:
        super().__init__(context)
        self._context = context
        self._wanted = wanted
        self._check_seconds = check_seconds
        self._sweep_after_seconds = sweep_after_seconds
        self._keepers: dict[Key, SubscriptionKeeper] = {}
        self._due_at: dict[Key, datetime] = {}
        self._listed: Sequence[Connection] | None = None
        self._tidy_at = 0.0
        self._lanes: Lanes[Key] = context.lanes(
            "subscriptions", SUBSCRIPTIONS, longest_seconds=LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Check every subscription that is due; return in how many seconds the next one is."""
        listed = await self._connections.snapshot()
        connections = {_key_of(connection): connection for connection in listed}
        owners = {_key_of(owner): owner for owner in subscription_owners(list(connections.values()))}
        stored = await self._load_stored()
        due = self._due_keepers(owners, stored) | self._surplus(connections, owners, stored)
        due = {key: serve for key, serve in due.items() if not self._lanes.has(key)}
        for key in due:
            # Until the turn has ended: one that never ends is not begun again at once.
            self._due_at[key] = self._clock.now() + timedelta(seconds=self._check_seconds)
        await self._lanes.run(due)
        if listed is not self._listed or self._clock.monotonic() >= self._tidy_at:
            await self._forget_removed()
            self._listed, self._tidy_at = listed, self._clock.monotonic() + self._check_seconds
        return self._pause(owners)

    def _pause(self, keys: Iterable[Key]) -> float | None:
        """Return in how many seconds the next turn is; a turn that ends wakes the loop by itself."""
        now = self._clock.now()
        due_at = [self._due_at.get(key, now) for key in keys if not self._lanes.has(key)]
        if not due_at:
            return None
        # A step looks at all subscriptions: those that are due at about the same time share one.
        shortest = min(_SHORTEST_PAUSE_SECONDS, self._check_seconds / 100)
        return max(shortest, (min(due_at) - now).total_seconds())

    async def close(self) -> None:
        """Stop what is under way; it is due again."""
        await self._lanes.close()

    async def _load_stored(self) -> list[_Stored]:
        column = subscriptions.c
        query = select(
            column.account_id, column.name, column.subscription_id, column.renew_at, column.refused_since
        )
        async with self._database.read() as db:
            rows = await db.execute(query)
            return [_Stored((AccountId(holder), name), *values) for holder, name, *values in rows]

    def _due_keepers(self, owners: Mapping[Key, Connection], stored: Sequence[_Stored]) -> dict[Key, Serve]:
        """Return the turns that are due, or needed at once to renew or replace a subscription."""
        now = self._clock.now()
        urgent = {one.key for one in stored if one.refused_since or (one.renew_at and one.renew_at <= now)}
        self._keepers = {key: self._keeper(key, connection) for key, connection in owners.items()}
        return {
            key: partial(self._serve, owners[key], keeper)
            for key, keeper in self._keepers.items()
            # One that failed waits for its turn, with growing pauses, even if it is urgent.
            if self._is_due(key) or (key in urgent and keeper.refusal is None)
        }

    def _surplus(
        self,
        connections: Mapping[Key, Connection],
        owners: Mapping[Key, Connection],
        stored: Sequence[_Stored],
    ) -> dict[Key, Serve]:
        """Return turns that delete users' subscriptions where the account has one for all calls."""
        served = {key[0] for key in owners if sees_all(owners[key]) and self._keepers[key].is_well}
        return {
            one.key: partial(self._retire, connections[one.key], one.subscription_id)
            for one in stored
            if one.key in connections and one.key not in owners and one.key[0] in served
            if connections[one.key].access.problem is None and self._is_due(one.key)
        }

    def _is_due(self, key: Key) -> bool:
        return key not in self._due_at or self._due_at[key] <= self._clock.now()

    async def _serve(self, connection: Connection, keeper: SubscriptionKeeper) -> None:
        """Check one subscription."""
        key = _key_of(connection)
        try:
            pause = await keeper.step()
        except StorageUnavailable:
            self._due_at[key] = self._clock.now() + timedelta(seconds=_AFTER_OUTAGE_SECONDS)
            raise
        if self._keepers.get(key) is not keeper:
            pause = 0.0  # the wanted subscription has changed meanwhile: the next keeper's turn is now
        self._due_at[key] = self._clock.now() + timedelta(seconds=pause)
        if keeper.refusal is not None:
            await self._connections.note(connection, keeper.refusal)

    async def _retire(self, connection: Connection, subscription_id: str) -> None:
        """Delete a subscription that would deliver everything again."""
        try:
            await connection.client.delete_subscription(subscription_id)
        except RingCentralError as error:
            log.warning("a surplus subscription could not be deleted", name=connection.name, why=error.detail)
            return
        log.info("deleted a surplus subscription", subscription_id=subscription_id, name=connection.name)
        await self._forget([_key_of(connection)])

    async def _forget_removed(self) -> None:
        """Forget the subscriptions of users whose credentials were removed, and the problems of these.

        Those of the environment's credentials are kept: they may be missing by mistake, and what is known of
        the subscription shows the gap.
        """
        async with self._database.read() as db:
            turns = await db.execute(
                select(work.c.account_id, work.c.kind).where(work.c.kind.startswith(KIND))
            )
            known = {(AccountId(holder), name_of(kind)) for holder, kind in turns}
            known = (known | await _keys_in(db, subscriptions)) - await _keys_in(db, credentials)
        await self._forget(sorted(key for key in known if key[0] != UNBOUND_ACCOUNT))

    async def _forget(self, keys: Sequence[Key]) -> None:
        if not keys:
            return
        column = subscriptions.c
        async with self._database.write() as db:
            for holder, name in keys:
                mine = (column.account_id == holder) & (column.name == name)
                await db.execute(delete(subscriptions).where(mine))
                turns = (work.c.account_id == holder) & (work.c.kind == kind_of(name))
                await db.execute(delete(work).where(turns))

    def _keeper(self, key: Key, connection: Connection) -> SubscriptionKeeper:
        """Return the keeper for what a connection may subscribe to now; a new one has its turn at once."""
        wanted = self._wanted
        if not sees_all(connection):
            wanted = replace(wanted, filters=of_extension(wanted.filters))
        keeper = self._keepers.get(key)
        if keeper is None or keeper.client is not connection.client or keeper.wanted != wanted:
            keeper = SubscriptionKeeper(
                self._context,
                connection.client,
                wanted,
                check_seconds=self._check_seconds,
                holder=connection.holder,
                name=connection.name,
                sweep_after_seconds=self._sweep_after_seconds,
            )
            self._due_at.pop(key, None)
        return keeper


def subscription_owners(connections: Sequence[Connection]) -> list[Connection]:
    """Return the connections that keep a subscription.

    Those of one holder are given company-wide ones first.

    One that sees all calls and has no problem keeps the subscription for the account; else each user keeps
    their own.
    """
    served: set[AccountId] = set()
    chosen = []
    for connection in sorted(
        connections, key=lambda item: (not sees_all(item), item.access.problem is not None)
    ):
        if connection.holder in served:
            continue
        chosen.append(connection)
        if sees_all(connection) and connection.access.problem is None:
            served.add(connection.holder)
    return chosen


def sees_all(connection: Connection) -> bool:
    """Whether a connection is known to have access to the whole account.

    One that has access to an extension, and is only probed for the whole account, is not: RingCentral grants
    those of the requested filters that it can, and a subscription that was changed for nothing would deliver
    nothing.
    """
    access = connection.access
    is_tried = access.probe_at is not None and (
        access.extension_id is not None or not CALL_READING.isdisjoint(access.lacks)
    )
    return connection.is_company_wide and not is_tried


def _key_of(connection: Connection) -> Key:
    return connection.holder, connection.name


async def _keys_in(db: AsyncConnection, table: Table) -> set[Key]:
    rows = await db.execute(select(table.c.account_id, table.c.name))
    return {(AccountId(holder), name) for holder, name in rows}
