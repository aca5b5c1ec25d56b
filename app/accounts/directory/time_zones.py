"""Learns the time zones of people, which the directory does not have: one Light request per person.

So they are learnt slowly: a few people a minute, each again after a week, with the lowest priority. Until
then the account's own time zone stands for theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.context import AccountsContext, AccountsWorker
from app.calls.evidence.people import USER
from app.db.tables import directories, extensions, work
from app.errors import LeaseLost, PermissionMissing, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, ExtensionId, new_id
from app.ringcentral.client import RingCentralClient
from app.work.failures import log_failure
from app.work.lanes import Lanes
from app.work.leases import leased

KIND = "time-zones"
AT_ONCE = 5
"""People that are asked for in one turn, of some fifty Light requests a minute."""

PAUSE = timedelta(minutes=1)
REFUSED_PAUSE = timedelta(days=1)
AGAIN_AFTER = timedelta(days=7)
_LONGEST_TURN_SECONDS = 300.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Learnt:
    """`zones` has the people that were asked for; None: RingCentral gives none. Rests until `until`."""

    until: datetime
    zones: dict[ExtensionId, str | None] = field(default_factory=dict)


class TimeZoneReader(AccountsWorker):
    """The background work that asks for the time zones of people."""

    def __init__(self, context: AccountsContext) -> None:
        super().__init__(context)
        self._context = context
        self._lanes: Lanes[AccountId] = context.lanes(
            "time zones", None, longest_seconds=_LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Ask for a few people of each account that has some to ask for."""
        now = self._clock.now()
        own = and_(work.c.account_id == extensions.c.account_id, work.c.kind == KIND)
        query = (
            select(extensions.c.account_id)
            .select_from(extensions.outerjoin(work, own))
            .where(_is_due(now), or_(work.c.due_at.is_(None), work.c.due_at <= now))
            .distinct()
        )
        async with self._database.read() as db:
            due = [AccountId(account_id) for account_id in await db.scalars(query)]
        return await self._lanes.run({account_id: partial(self._serve, account_id) for account_id in due})

    async def close(self) -> None:
        """Stop what is under way; it is due again."""
        await self._lanes.close()

    async def _serve(self, account_id: AccountId) -> float | None:
        lease = self._context.lease(account_id, KIND)
        async with leased(self._database, self._clock, lease) as has_turn:
            if not has_turn:
                return None
            async with self._database.read() as db:
                wanted = await _find_due(db, account_id, self._clock.now())
            learnt = await self._ask(account_id, wanted)
            try:
                async with self._database.write() as db:
                    await lease.save(db, due_at=learnt.until)
                    await _save(db, account_id, learnt.zones, self._clock.now())
            except LeaseLost:
                log.debug("another replica learns the time zones", account_id=account_id)
        return None

    async def _ask(self, account_id: AccountId, wanted: Sequence[ExtensionId]) -> _Learnt:
        connection = await self._connections.best(account_id)
        now = self._clock.now()
        learnt = _Learnt(now + PAUSE)
        if connection is None or connection.access.problem is not None:
            return learnt
        for extension_id in wanted:
            try:
                learnt.zones[extension_id] = await _zone_of(connection.client, extension_id)
            except RateLimited as error:
                learnt.until = max(error.retry_at, learnt.until)
                break
            except (PermissionMissing, RequestRefused) as error:
                # A user may see the own extension only. Asking for all others would be refused as often.
                log.debug("the time zones of people are refused", name=connection.name, code=error.code)
                learnt.zones[extension_id] = None
                learnt.until = now + REFUSED_PAUSE
                break
            except RingCentralError as error:
                log_failure(log, "asking for a time zone failed", error, name=connection.name)
                break
        return learnt


async def _zone_of(client: RingCentralClient, extension_id: ExtensionId) -> str | None:
    found = await client.fetch_extension(extension_id)
    return found.time_zone if found is not None and found.id == extension_id else None


def _is_due(now: datetime) -> ColumnElement[bool]:
    asked_at = extensions.c.time_zone_at
    return and_(
        extensions.c.kind == USER,
        extensions.c.left_at.is_(None),
        or_(asked_at.is_(None), asked_at <= now - AGAIN_AFTER),
    )


async def _find_due(db: AsyncConnection, account_id: AccountId, now: datetime) -> list[ExtensionId]:
    """Return some people to ask for, those first that were never asked for."""
    query = (
        select(extensions.c.extension_id)
        .where(extensions.c.account_id == account_id, _is_due(now))
        .order_by(extensions.c.time_zone_at.asc().nulls_first(), extensions.c.extension_id)
        .limit(AT_ONCE)
    )
    return [ExtensionId(extension_id) for extension_id in await db.scalars(query)]


async def _save(
    db: AsyncConnection, account_id: AccountId, zones: Mapping[ExtensionId, str | None], now: datetime
) -> None:
    """Store time zones; one that is no longer given stays. A new one makes a new version of the directory."""
    has_changed = False
    for extension_id, zone in zones.items():
        mine = (extensions.c.account_id == account_id, extensions.c.extension_id == extension_id)
        await db.execute(update(extensions).where(*mine).values(time_zone_at=now))
        if zone is not None:
            differs = or_(extensions.c.time_zone.is_(None), extensions.c.time_zone != zone)
            changed = await db.execute(update(extensions).where(*mine, differs).values(time_zone=zone))
            has_changed = has_changed or changed.rowcount > 0
    if has_changed:
        state = directories.c.account_id == account_id
        await db.execute(update(directories).where(state).values(version=new_id("dir", now)))
