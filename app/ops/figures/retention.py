"""What is kept for how long, and since when there is something of it. Of all accounts together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ScalarSelect, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import (
    accounts,
    audit_entries,
    call_records,
    calls,
    deliveries,
    idempotency_keys,
    notes,
    recordings,
    timeline,
    voicemails,
    webhook_attempts,
)
from app.ids import time_of_id
from app.retention.rules import Kind, RetentionRules

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class KindKept:
    """How long one kind is kept, in days; None: without limit. `oldest`: None if there is nothing of it."""

    kind: Kind
    days: float | None
    oldest: datetime | None


async def load_retention(db: AsyncConnection, rules: RetentionRules) -> list[KindKept]:
    """Load the state of each kind. Each is one look into an index, for some kinds one for each account."""
    oldest = {
        Kind.DELIVERIES: await _least(db, deliveries.c.received_at, deliveries.c.folded_at.is_not(None)),
        Kind.RECORDS: _time(await db.scalar(_first(call_records.c.call_id, call_records.c.call_id))),
        Kind.TIMELINE: await db.scalar(_first(timeline.c.at, timeline.c.seq)),
        Kind.CALLS: await db.scalar(_first(calls.c.ended_at, calls.c.ended_at, is_known=True)),
        Kind.NOTES: _time(await db.scalar(_first(notes.c.note_id, notes.c.note_id))),
        Kind.RECORDINGS: min(
            [
                one
                for table in (recordings, voicemails)
                if (one := await _least(db, table.c.archived_at, table.c.archive_path.is_not(None)))
            ],
            default=None,
        ),
        Kind.REQUESTS: await _least(db, idempotency_keys.c.created_at),
        Kind.ATTEMPTS: await _least(db, webhook_attempts.c.started_at),
        Kind.AUDIT: _time(await db.scalar(select(func.min(audit_entries.c.entry_id)))),
    }
    return [KindKept(kind, _days(rules, kind), oldest[kind]) for kind in Kind]


def _days(rules: RetentionRules, kind: Kind) -> float | None:
    kept = rules.of(kind)
    return None if kept is None else kept.total_seconds() / _DAY_SECONDS


def _time(id_of_ours: str | None) -> datetime | None:
    return None if id_of_ours is None else time_of_id(id_of_ours)


async def _least(db: AsyncConnection, column: Column[datetime], *conditions: Any) -> datetime | None:
    query = select(column).where(*conditions).order_by(column).limit(1)
    least: datetime | None = await db.scalar(query)
    return least


def _first(shown: Column[Any], order: Column[Any], *, is_known: bool = False) -> Select[Any]:
    """Return the query for the least of the first rows of all accounts."""
    table = shown.table
    query = select(shown).where(table.c.account_id == accounts.c.account_id)
    if is_known:
        query = query.where(order.is_not(None))
    first: ScalarSelect[Any] = query.order_by(order).limit(1).correlate(accounts).scalar_subquery()
    each = select(first.label("first")).select_from(accounts).subquery()
    return select(func.min(each.c.first))


def show_days(days: float | None) -> str:
    """Return a time in words: `30 days`, `1 day`, `without limit`."""
    if days is None:
        return "without limit"
    return f"{days:g} day{'' if days == 1 else 's'}"


def describe_rules(rules: RetentionRules) -> str:
    """Return in one sentence how long what is kept."""
    shown: Sequence[tuple[str, Kind]] = (
        ("raw deliveries", Kind.DELIVERIES),
        ("changes", Kind.TIMELINE),
        ("calls", Kind.CALLS),
    )
    return "Kept: " + ", ".join(f"{name} {show_days(_days(rules, kind))}" for name, kind in shown) + "."
