"""Which calls may be removed, and which have been kept for long enough."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select
from sqlalchemy.sql.expression import FromClause

from app.calls.lifetime import legal_holds
from app.calls.model import Stage
from app.db.tables import calls


def may_be_removed(of: FromClause = calls) -> ColumnElement[bool]:
    """Return the condition that a row of `calls` (or of an alias), and what belongs to it, may be removed.

    The one place to say so: every statement that removes something of a call by its age has this condition.
    """
    return ~legal_holds.is_held(of.c.account_id, of.c.call_id)


def is_held(account_id: ColumnElement[str], names: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a row belongs to a call that may not be removed.

    `names`: that the row of `calls` is the one that it belongs to.
    """
    held = select(calls.c.call_id).where(calls.c.account_id == account_id, names, not_(may_be_removed()))
    return held.exists()


def is_over_since(before: datetime, of: FromClause = calls) -> ColumnElement[bool]:
    """Return the condition that a call was over before a moment. Some absent calls have only a start."""
    column: Any = of.c
    return and_(column.stage != Stage.LIVE, func.coalesce(column.ended_at, column.started_at) < before)


def ended_before(before: datetime) -> ColumnElement[bool]:
    """Return `is_over_since` for calls with an end, in a form for which there is an index."""
    return and_(calls.c.stage != Stage.LIVE, calls.c.ended_at < before)


def closed_before(before: datetime) -> ColumnElement[bool]:
    """Return `is_over_since` for calls without an end, in a form for which there is an index."""
    return and_(calls.c.stage == Stage.ABSENT, calls.c.ended_at.is_(None), calls.c.started_at < before)


def joins_only(condition: ColumnElement[bool], other: FromClause) -> ColumnElement[bool]:
    """Return the condition that all calls of a call's conversation meet a condition about `other`.

    `other` is an alias of `calls`. Calls of one conversation show each other, so they go together.
    """
    column: Any = other.c
    stays = exists().where(
        column.account_id == calls.c.account_id, column.conversation_id == calls.c.conversation_id,
        not_(condition),
    )  # fmt: skip
    return or_(calls.c.conversation_id.is_(None), ~stays)
