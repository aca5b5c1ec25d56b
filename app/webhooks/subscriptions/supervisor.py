"""Guards the subscriptions of all accounts, side by side: an account whose RingCentral hangs delays no other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import delete, select

from app.accounts.access import CALL_READING
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.db.tables import credentials, subscriptions, work
from app.errors import RingCentralError, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.webhooks.subscriptions.keeper import KIND, SubscriptionKeeper, Wanted, kind_of, name_of, of_extension
from app.work.lanes import Lanes, Serve
from app.work.wakeups import SUBSCRIPTIONS

LONGEST_TURN_SECONDS = 600.0
"""A handful of requests, each of which may wait for its budget, be tried again, and last until a handshake is done."""

_LOCKED_SECONDS = 1.0
"""From a turn that the database ended to the next one."""

Key = tuple[AccountId, str]
"""Holder and name of a connection."""

log = structlog.get_logger(__name__)


class SubscriptionSupervisor(AccountsWorker):
    """The keepers of all accounts: one for each whose calls somebody sees all of, else one for each user."""

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
        self._lanes: Lanes[Key] = context.lanes(
            "subscriptions", SUBSCRIPTIONS, longest_seconds=LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Look after every subscription that it is time for; say in how many seconds to look again.

        One that takes longer than our patience is looked after beside the others.
        """
        everybody = {_key_of(connection): connection for connection in await self._connections.all()}
        kept = {
            _key_of(connection): connection for connection in subscription_owner(list(everybody.values()))
        }
        stored = await self._load_stored()
        due = self._due_keepers(kept, stored) | self._left_over(everybody, kept, stored)
        due = {key: serve for key, serve in due.items() if not self._lanes.has(key)}
        for key in due:
            # Until it is known better.
            self._due_at[key] = self._clock.now() + timedelta(seconds=self._check_seconds)
        await self._lanes.run(due)
        await self._forget_removed()
        return self._pause(kept)

    def _pause(self, keys: Iterable[Key]) -> float | None:
        """Return in how many seconds the next one has its turn; those that are through with theirs wake us."""
        now = self._clock.now()
        due_at = [self._due_at.get(key, now) for key in keys if not self._lanes.has(key)]
        return max(0.0, (min(due_at) - now).total_seconds()) if due_at else None

    async def close(self) -> None:
        """Stop what is under way; it is looked after again."""
        await self._lanes.close()

    async def _load_stored(self) -> list[Any]:
        column = subscriptions.c
        query = select(
            column.account_id, column.name, column.subscription_id, column.renew_at, column.refused_since
        )
        async with self._database.read() as db:
            return list(await db.execute(query))

    def _due_keepers(self, kept: Mapping[Key, Connection], stored: Sequence[Any]) -> dict[Key, Serve]:
        """Return what it is time for, or what has to be renewed or replaced at once."""
        now = self._clock.now()
        urgent = {
            _key_in(row) for row in stored if row.refused_since or (row.renew_at and row.renew_at <= now)
        }
        self._keepers = {key: self._keeper(key, connection) for key, connection in kept.items()}
        return {
            key: partial(self._serve, kept[key], keeper)
            for key, keeper in self._keepers.items()
            # Whoever failed waits for his turn, with pauses that grow, also where haste is needed.
            if self._is_due(key) or (key in urgent and keeper.refusal is None)
        }

    def _left_over(
        self, everybody: Mapping[Key, Connection], kept: Mapping[Key, Connection], stored: Sequence[Any]
    ) -> dict[Key, Serve]:
        """Return the subscriptions of users for whom somebody else keeps one now, and it delivers."""
        served = {key[0] for key in kept if sees_all(kept[key]) and self._keepers[key].is_well}
        return {
            key: partial(self._retire, everybody[key], row.subscription_id)
            for row in stored
            if (key := _key_in(row)) in everybody and key not in kept and key[0] in served
            if everybody[key].access.problem is None and self._is_due(key)
        }

    def _is_due(self, key: Key) -> bool:
        return key not in self._due_at or self._due_at[key] <= self._clock.now()

    async def _serve(self, connection: Connection, keeper: SubscriptionKeeper) -> None:
        """Look after one subscription."""
        key = _key_of(connection)
        try:
            pause = await keeper.step()
        except StorageUnavailable:
            self._due_at[key] = self._clock.now() + timedelta(seconds=_LOCKED_SECONDS)
            raise
        if self._keepers.get(key) is not keeper:
            pause = 0.0  # what it should be has become known meanwhile: its successor's turn is now
        self._due_at[key] = self._clock.now() + timedelta(seconds=pause)
        if keeper.refusal is not None:
            await self._connections.note(connection, keeper.refusal)

    async def _retire(self, connection: Connection, subscription_id: str) -> None:
        """Delete what would deliver everything twice."""
        try:
            await connection.client.delete_subscription(subscription_id)
        except RingCentralError as error:
            log.warning("a surplus subscription could not be deleted", name=connection.name, why=error.detail)
            return
        log.info("deleted a surplus subscription", subscription_id=subscription_id, name=connection.name)
        await self._forget([_key_of(connection)])

    async def _forget_removed(self) -> None:
        """Forget the subscriptions of users whose credentials were removed, and what they wanted of a person.

        Not those of the environment's: they may be missing by mistake, and what is known tells of the gap.
        """
        columns = (subscriptions.c.account_id, subscriptions.c.name)
        async with self._database.read() as db:
            told = await db.execute(
                select(work.c.account_id, work.c.kind).where(work.c.kind.startswith(KIND))
            )
            known = {(AccountId(row.account_id), name_of(row.kind)) for row in told}
            known |= {_key_in(row) for row in await db.execute(select(*columns))}
            there = await db.execute(select(credentials.c.account_id, credentials.c.name))
            known -= {_key_in(row) for row in there}
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
        """Return the keeper for what a connection may have now; a new one has its turn at once."""
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


def subscription_owner(connections: Sequence[Connection]) -> list[Connection]:
    """Pick the connections that keep a subscription; those of a holder stand in order, company-wide ones first.

    Who sees all and has no problem keeps the one for all; else each user keeps his own.
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
    """Whether a connection is known to reach the whole account.

    One that reaches an extension, and is only tried with the whole account, is not: RingCentral grants a part of the
    filters that are asked for, and a subscription that was changed in vain would be deaf.
    """
    access = connection.access
    is_tried = access.probe_at is not None and (
        access.extension_id is not None or not CALL_READING.isdisjoint(access.lacks)
    )
    return connection.is_company_wide and not is_tried


def _key_of(connection: Connection) -> Key:
    return connection.holder, connection.name


def _key_in(row: Any) -> Key:
    return AccountId(row.account_id), row.name
