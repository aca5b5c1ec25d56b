"""Guards the subscriptions of all accounts, side by side: an account whose RingCentral hangs delays no other."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import or_, select

from app.clock import Clock
from app.db.engine import Database
from app.db.tables import subscriptions
from app.enrichment.connections import Connection, Connections
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.webhooks.subscription import SubscriptionKeeper, Wanted, of_extension
from app.work.lanes import Lanes, Serve
from app.work.wakeups import SUBSCRIPTIONS

LONGEST_TURN_SECONDS = 600.0
"""A handful of requests, each of which may wait for its budget, be tried again, and last until a handshake is done."""

Key = tuple[AccountId, str]
"""Holder and name of a connection."""


class SubscriptionGuard:
    """The keepers of all accounts: one for each whose calls somebody sees all of, else one for each user."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        connections: Connections,
        wanted: Wanted,
        *,
        replica: str,
        check_seconds: float,
        lease_seconds: float,
        sweep_after_seconds: float,
        patience_seconds: float | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._connections = connections
        self._wanted = wanted
        self._replica = replica
        self._check_seconds = check_seconds
        self._lease_seconds = lease_seconds
        self._sweep_after_seconds = sweep_after_seconds
        self._keepers: dict[Key, SubscriptionKeeper] = {}
        self._due_at: dict[Key, datetime] = {}
        self._lanes: Lanes[Key] = Lanes(
            "subscriptions",
            wake=lambda: database.wake((SUBSCRIPTIONS,)),
            longest_seconds=LONGEST_TURN_SECONDS,
            patience_seconds=patience_seconds,
        )

    async def step(self) -> float | None:
        """Look after every subscription that it is time for; say in how many seconds to look again.

        One that takes longer than our patience is looked after beside the others.
        """
        kept = {_key_of(connection): connection for connection in who_keeps(await self._connections.all())}
        urgent = await self._find_urgent()
        now = self._clock.now()
        due: dict[Key, Serve] = {}
        for key, connection in kept.items():
            keeper = self._keeper(key, connection)
            # Whoever failed waits for his turn, with pauses that grow, also where haste is needed.
            is_urgent = key in urgent and keeper.refusal is None
            if is_urgent or self._due_at.get(key, now) <= now:
                due[key] = partial(self._serve, connection, keeper)
                # Until it is known better; those that hang are not asked for at every step.
                self._due_at[key] = now + timedelta(seconds=self._check_seconds)
        await self._lanes.run(due)
        soonest = min((self._due_at[key] for key in kept), default=None)
        return None if soonest is None else max(0.0, (soonest - self._clock.now()).total_seconds())

    async def close(self) -> None:
        """Stop what is under way; it is looked after again."""
        await self._lanes.close()

    async def _serve(self, connection: Connection, keeper: SubscriptionKeeper) -> None:
        """Look after one subscription."""
        key = _key_of(connection)
        try:
            pause = await keeper.step()
        except StorageUnavailable:
            self._due_at[key] = self._clock.now()
            raise
        self._due_at[key] = self._clock.now() + timedelta(seconds=pause)
        if keeper.refusal is not None:
            await self._connections.note(connection, keeper.refusal)

    async def _find_urgent(self) -> set[Key]:
        """Return whose subscription is to be renewed or replaced at once."""
        column = subscriptions.c
        is_urgent = or_(column.renew_at <= self._clock.now(), column.refused_since.is_not(None))
        async with self._database.read() as db:
            rows = await db.execute(select(column.account_id, column.name).where(is_urgent))
            return {(AccountId(row.account_id), row.name) for row in rows}

    def _keeper(self, key: Key, connection: Connection) -> SubscriptionKeeper:
        """Return the keeper for what a connection may have now; a new one has its turn at once."""
        wanted = self._wanted
        if not connection.is_company_wide:
            wanted = replace(wanted, filters=of_extension(wanted.filters))
        keeper = self._keepers.get(key)
        if keeper is None or keeper.client is not connection.client or keeper.wanted != wanted:
            keeper = self._keepers[key] = SubscriptionKeeper(
                self._database,
                self._clock,
                connection.client,
                wanted,
                replica=self._replica,
                check_seconds=self._check_seconds,
                lease_seconds=self._lease_seconds,
                holder=connection.holder,
                name=connection.name,
                sweep_after_seconds=self._sweep_after_seconds,
            )
            self._due_at.pop(key, None)
        return keeper


def who_keeps(connections: Sequence[Connection]) -> list[Connection]:
    """Pick the connections that keep a subscription; those of a holder stand in order, company-wide ones first."""
    served: set[AccountId] = set()
    chosen = []
    for connection in sorted(connections, key=lambda item: not item.is_company_wide):
        if connection.holder in served:
            continue
        chosen.append(connection)
        if connection.is_company_wide:
            served.add(connection.holder)
    return chosen


def _key_of(connection: Connection) -> Key:
    return connection.holder, connection.name
