"""Entries of the audit in the database: written in the transaction of the change, listed newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.contextvars import get_contextvars

from app.audit.model import Actor, ActorKind, AuditAction, AuditOutcome, Entry
from app.db.lists import is_one_of
from app.db.tables import audit_entries
from app.ids import first_id, new_id

PREFIX = "audit"
_C = audit_entries.c
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REPEATED = timedelta(minutes=1)
"""A refusal that a key repeats within this time is written once: a loop must not fill the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which entries to list; None: any. `accounts`: only of these. `since` is included, `until` is not."""

    accounts: Sequence[str] | None = None
    actions: Sequence[str] = ()
    outcome: str | None = None
    key_id: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def record(
    db: AsyncConnection,
    now: datetime,
    account_id: str,
    action: AuditAction,
    by: Actor,
    *,
    target: str | None = None,
    outcome: AuditOutcome = AuditOutcome.DONE,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write an entry, in the transaction of the change that it tells of.

    `details` must not have secrets, phone numbers, or texts of people.
    """
    await db.execute(
        insert(audit_entries).values(
            account_id=account_id,
            entry_id=new_id(PREFIX, now),
            at=now,
            action=action.value,
            outcome=outcome.value,
            actor=by.kind.value,
            key_id=by.key_id,
            target=target,
            # The service's own work has none, also where a request has begun it.
            request_id=None if by.kind is ActorKind.SERVICE else get_contextvars().get("request_id"),
            details=dict(details or {}),
        )
    )


async def was_just_refused(db: AsyncConnection, now: datetime, action: AuditAction, by: Actor) -> bool:
    """Whether an entry tells already that this was refused to this key."""
    query = select(_C.entry_id).where(
        _C.key_id == by.key_id,
        _C.entry_id >= first_id(PREFIX, now - _REPEATED),
        _C.action == action.value,
        _C.outcome == AuditOutcome.REFUSED.value,
    )
    return await db.scalar(query.limit(1)) is not None


async def list_entries(
    db: AsyncConnection, filters: Filters, limit: int, before: str | None = None
) -> list[Entry]:
    """Return entries, newest first; `before`: those that are older than this one."""
    query = select(audit_entries).where(*_conditions(filters))
    if before is not None:
        query = query.where(_C.entry_id < before)
    rows = await db.execute(query.order_by(_C.entry_id.desc()).limit(limit))
    return [Entry(**row) for row in rows.mappings()]


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.accounts is not None:
        found.append(is_one_of(_C.account_id, filters.accounts))
    if filters.actions:
        found.append(is_one_of(_C.action, filters.actions))
    exact = {_C.outcome: filters.outcome, _C.key_id: filters.key_id, _C.target: filters.target}
    found += [column == wanted for column, wanted in exact.items() if wanted is not None]
    # Ids begin with their time, so the index of ids serves time ranges as well.
    if filters.since is not None:
        found.append(_C.entry_id >= _first_id(filters.since))
    if filters.until is not None:
        found.append(_C.entry_id < _first_id(filters.until))
    return found


def _first_id(moment: datetime) -> str:
    # Ids have no times before 1970.
    return first_id(PREFIX, max(moment, _EPOCH))
