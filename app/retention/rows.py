"""Removes rows that belong to no call: deliveries, remembered requests, attempts to send webhooks, entries of
the audit, and what waits for a call in vain.
"""

from datetime import datetime

from sqlalchemy import Boolean, Table, literal_column

from app.audit.store import PREFIX
from app.calls.attachments.stored import KINDS
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import (
    audit_entries,
    deliveries,
    idempotency_keys,
    insights,
    key_requests,
    webhook_attempts,
)
from app.db.tables.attachments import IS_PARKED
from app.ids import first_id
from app.retention.batches import delete_batch
from app.retention.partitions import DeliveryPartitions, is_of_held_call
from app.retention.rules import Kind, RetentionRules


class DeliveryRemover:
    """Removes raw deliveries that were folded; those that wait are kept, however old they are.

    On PostgreSQL it drops the partitions of old days, and deletes only what is in none.
    """

    kind = Kind.DELIVERIES

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._clock = clock
        self._kept = rules.deliveries
        self._partitions = None if database.is_sqlite else DeliveryPartitions(database)

    async def remove(self) -> bool:
        now = self._clock.now()
        if self._partitions is None:
            return await self._delete(deliveries, now)
        await self._partitions.keep(now, self._kept)
        return any([await self._delete(table, now) for table in await self._partitions.others()])

    async def _delete(self, table: Table, now: datetime) -> bool:
        column = table.c
        is_old = column.folded_at.is_not(None), column.received_at < now - self._kept, ~is_of_held_call(table)
        key = (column.account_id, column.uuid, column.day)
        return await delete_batch(self._database, self.kind, key, *is_old)


class RequestRemover:
    """Removes remembered requests, with their responses, and the last requests of each key."""

    kind = Kind.REQUESTS

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._clock = clock
        self._kept = rules.requests

    async def remove(self) -> bool:
        column = idempotency_keys.c
        before = self._clock.now() - self._kept
        key = (column.account_id, column.key_id, column.key)
        has_more = await delete_batch(self._database, self.kind, key, column.created_at < before)
        logged = key_requests.c
        entry = (logged.account_id, logged.key_id, logged.entry_id)
        # Few rows, so it needs no index.
        return await delete_batch(self._database, self.kind, entry, logged.at < before) or has_more


class AttemptRemover:
    """Removes attempts to send webhooks."""

    kind = Kind.ATTEMPTS

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._clock = clock
        self._kept = rules.attempts

    async def remove(self) -> bool:
        column = webhook_attempts.c
        is_old = column.started_at < self._clock.now() - self._kept
        return await delete_batch(self._database, self.kind, (column.account_id, column.attempt_id), is_old)


class AuditRemover:
    """Removes entries of the audit."""

    kind = Kind.AUDIT

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._clock = clock
        self._kept = rules.audit

    async def remove(self) -> bool:
        column = audit_entries.c
        # Ids begin with their time, and are indexed.
        is_old = column.entry_id < first_id(PREFIX, self._clock.now() - self._kept)
        return await delete_batch(self._database, self.kind, (column.account_id, column.entry_id), is_old)


class ParkedRemover:
    """Removes what has waited for its call for as long as a call is kept: it does not come any more."""

    kind = Kind.CALLS

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._clock = clock
        self._kept = rules.calls

    async def remove(self) -> bool:
        if self._kept is None:
            return False
        before = self._clock.now() - self._kept
        has_more = [
            await delete_batch(
                self._database,
                self.kind,
                (insights.c.account_id, insights.c.source_id),
                insights.c.call_id.is_(None),
                insights.c.fetched_at < before,
            )
        ]
        for attached in KINDS:
            table = attached.table
            key = (table.c.account_id, *(table.c[name] for name in attached.row_key))
            is_old = table.c.updated_at < before
            has_more.append(
                await delete_batch(self._database, self.kind, key, literal_column(IS_PARKED, Boolean), is_old)
            )
        return any(has_more)
