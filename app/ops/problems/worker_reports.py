"""Problems of a single worker, reported as rows that every replica can read."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database, upsert_into
from app.db.tables import work
from app.ids import UNBOUND_ACCOUNT


class WorkerReport:
    """The report of one worker about one `subject`. It expires `lifetime` after it was last published."""

    def __init__(self, database: Database, subject: str, replica: str, lifetime: timedelta) -> None:
        self._database = database
        self._subject = subject
        self._kind = f"{subject}:{replica}"
        self._lifetime = lifetime

    async def publish(self, state: Mapping[str, Any], now: datetime) -> None:
        """Write or renew the report, and delete the reports of workers that are gone."""
        values = {"lease_until": now + self._lifetime, "state": state}
        is_of_subject = work.c.kind.startswith(f"{self._subject}:")
        async with self._database.write() as db:
            # Nobody else deletes them: a dead worker cannot withdraw its report.
            await db.execute(delete(work).where(is_of_subject, work.c.lease_until < now))
            insert = upsert_into(db, work).values(account_id=UNBOUND_ACCOUNT, kind=self._kind, **values)
            await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "kind"], set_=values))

    async def withdraw(self) -> None:
        async with self._database.write() as db:
            await db.execute(delete(work).where(work.c.kind == self._kind))


async def load_reports(db: AsyncConnection, subject: str, now: datetime) -> list[dict[str, Any]]:
    """Return the state of each report that has not expired."""
    query = select(work.c.state).where(
        work.c.account_id == UNBOUND_ACCOUNT,
        work.c.kind.startswith(f"{subject}:"),
        work.c.lease_until >= now,
    )
    return list(await db.scalars(query.order_by(work.c.kind)))
