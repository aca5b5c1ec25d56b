"""The partitions of `deliveries` on PostgreSQL: one for each day, made ahead and dropped when it is old.

Dropping a partition takes no time, whatever is in it, and leaves nothing to vacuum. Both take a lock for a
moment and give up after half a second, so no delivery waits for longer; the next step tries again. Rows whose
day has no partition are in the default one, so storing never fails; they are deleted as on SQLite.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import structlog
from sqlalchemy import ColumnElement, MetaData, Table, exists, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.removal.conditions import is_held
from app.db.engine import Database
from app.db.tables import calls, deliveries
from app.retention.batches import count_removed
from app.retention.rules import Kind
from app.webhooks.intake.days import PAST_ITS_DAY

DAYS_AHEAD = 7
"""Days for which there is a partition already: so long the service may be away."""

_PREFIX = "deliveries_"
_OTHERS = ("deliveries_before", "deliveries_default")
"""What was stored before the table was partitioned, and what no partition takes."""

_TURN = 4_202_611_29
_LIMITS = text(
    "SELECT set_config('lock_timeout', '500ms', true), set_config('statement_timeout', '2s', true)"
)
_IS_MY_TURN = text("SELECT pg_try_advisory_xact_lock(:turn)").bindparams(turn=_TURN)
_PARTITIONS = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " JOIN pg_class parent ON parent.oid = i.inhparent"
    " WHERE parent.relname = 'deliveries' AND pg_table_is_visible(parent.oid)"
)
_COUNT = text("SELECT pg_stat_get_live_tuples(CAST(:name AS regclass))")
_BUSY = ("55P03", "57014", "40P01")
"""A lock was not available in time, or the statement took too long, or a deadlock."""

_NOT_ALLOWED = "42501"
"""The database's user does not own the table."""

_IN_DEFAULT = "23514"
"""The default partition has rows of the day."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """The days whose partitions are missing, and the names of those that are old enough to be dropped."""

    missing: Sequence[date]
    old: Sequence[str]


def plan_partitions(names: Sequence[str], now: datetime, kept: timedelta) -> PartitionPlan:
    """Decide what to make and what to drop, given the names of the partitions that exist."""
    days = {name: day for name in names if (day := day_of_partition(name)) is not None}
    wanted = [now.date() + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    return PartitionPlan(
        missing=[day for day in wanted if day not in days.values()],
        old=sorted(name for name, day in days.items() if _begin(day) + PAST_ITS_DAY <= now - kept),
    )


def name_of_partition(day: date) -> str:
    """Return the name of a day's partition."""
    return f"{_PREFIX}{day:%Y%m%d}"


def day_of_partition(name: str) -> date | None:
    """Return the day of a partition; None if it is not that of a day."""
    digits = name.removeprefix(_PREFIX)
    if len(digits) != len("YYYYMMDD") or not digits.isdecimal():
        return None
    try:
        return date.fromisoformat(digits)
    except ValueError:
        return None


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class DeliveryPartitions:
    """Makes and drops the partitions. Any number of replicas may do that: they take turns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def others(self) -> list[Table]:
        """Return the partitions that are not of a day, from which rows are deleted one by one.

        The table itself, if it is not partitioned.
        """
        async with self._database.read() as db:
            names = list(await db.scalars(_PARTITIONS))
        if not names:
            return [deliveries]
        return [deliveries.to_metadata(MetaData(), name=name) for name in _OTHERS if name in names]

    async def keep(self, now: datetime, kept: timedelta) -> None:
        """Make the partitions of the days to come, and drop those that are old enough."""
        async with self._database.read() as db:
            names = list(await db.scalars(_PARTITIONS))
        if not names:
            return
        plan = plan_partitions(names, now, kept)
        for day in plan.missing:
            await self._make(day)
        for name in plan.old:
            await self._drop(name)
        if "deliveries_before" in names:
            await self._drop_if_empty("deliveries_before")

    @asynccontextmanager
    async def _changing(self, what: str, name: str) -> AsyncIterator[AsyncConnection | None]:
        """A transaction that changes partitions; None if it is another replica's turn."""
        try:
            async with self._database.engine.begin() as db:
                await db.execute(_LIMITS)
                yield db if await db.scalar(_IS_MY_TURN) else None
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state not in (*_BUSY, _IN_DEFAULT, _NOT_ALLOWED):
                raise
            # Storing and deleting go on with the partitions that there are.
            log.info(f"a partition is {what} later", partition=name, why=state)

    async def _make(self, day: date) -> None:
        name = name_of_partition(day)
        async with self._changing("made", name) as db:
            if db is None or name in await db.scalars(_PARTITIONS):
                return
            # Made apart and then attached: that stops nobody, while CREATE … PARTITION OF locks the table.
            await db.exec_driver_sql(
                f"CREATE TABLE {name} (LIKE deliveries INCLUDING DEFAULTS INCLUDING STORAGE)"
            )
            await db.exec_driver_sql(
                f"ALTER TABLE deliveries ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )

    async def _drop(self, name: str) -> None:
        """Drop a partition, unless deliveries in it wait to be folded. Those that are held stay."""
        part = deliveries.to_metadata(MetaData(), name=name)
        async with self._database.read() as db:
            waits = await db.scalar(select(exists().where(part.c.folded_at.is_(None))))
            number = await db.scalar(_COUNT, {"name": name})
        if waits:
            return
        dropped = False
        async with self._changing("dropped", name) as db:
            if db is None or name not in await db.scalars(_PARTITIONS):
                return
            await db.exec_driver_sql(f"ALTER TABLE deliveries DETACH PARTITION {name}")
            # Without a partition for their day, they go to the default one.
            columns = [column.name for column in part.c]
            held = select(*part.c).where(is_of_held_call(part))
            await db.execute(insert(deliveries).from_select(columns, held))
            await db.exec_driver_sql(f"DROP TABLE {name}")
            dropped = True
        if dropped:
            count_removed(Kind.DELIVERIES, int(number or 0))
            log.info("a day's deliveries are removed", partition=name, about=number)

    async def _drop_if_empty(self, name: str) -> None:
        part = deliveries.to_metadata(MetaData(), name=name)
        async with self._database.read() as db:
            if await db.scalar(select(exists().select_from(part))):
                return
        async with self._changing("dropped", name) as db:
            if db is None or name not in await db.scalars(_PARTITIONS):
                return
            await db.exec_driver_sql(f"DROP TABLE {name}")


def is_of_held_call(part: Table) -> ColumnElement[bool]:
    """Return the condition that a delivery belongs to a call that may not be removed."""
    return is_held(part.c.account_id, calls.c.telephony_session_id == part.c.telephony_session_id)
