"""Selects the live calls to check: those whose end is due, and those in doubt.

A live call is in doubt when it began before the end of a gap and nothing is known about it since; when one of
its records has an end; when no event has come for hours. All of this is derived from the call and the gaps,
so a restart forgets nothing, and a call whose events come late, after the others were checked, is in doubt as
well.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.model import Call, Stage
from app.db.lists import is_one_of
from app.db.tables import calls
from app.enrichment.gaps import GapEnd
from app.ids import AccountId
from app.webhooks.folding.stages import EndRules
from app.work.lookout import is_past

_KNOWN_AT = calls.c.state_known_at
_IS_LIVE = and_(calls.c.stage == Stage.LIVE, calls.c.end_check_at.is_not(None))
"""Every live call has a time at which its end is checked, and the index of these times is short."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """When calls are in doubt; made of the rules and of the end of the account's last gap."""

    now: datetime
    gap: GapEnd | None
    rules: EndRules

    def condition(self) -> ColumnElement[bool]:
        """Select the live calls to check now."""
        stale_since = self.now - timedelta(seconds=self.rules.stale)
        in_doubt = [and_(_KNOWN_AT.is_(None), calls.c.started_at < stale_since)]
        if self.gap is not None:
            # While a gap lasts, or grows, each call is checked from time to time.
            rest = self.rules.window * (2.5 if self.gap.lasts else 0.5)
            has_rested = or_(_KNOWN_AT.is_(None), self.now - timedelta(seconds=rest) >= _KNOWN_AT)
            in_doubt.append(and_(unsettled_since(self.gap.at), has_rested))
        unscheduled = and_(calls.c.ask_at.is_(None), or_(*in_doubt))
        return and_(_IS_LIVE, or_(calls.c.ask_at <= self.now, unscheduled))


def unsettled_since(gap_end: datetime) -> ColumnElement[bool]:
    """Select the live calls that began before the end of a gap and about which nothing is known since."""
    is_unknown = or_(_KNOWN_AT.is_(None), gap_end > _KNOWN_AT)
    return and_(calls.c.stage == Stage.LIVE, calls.c.started_at < gap_end, is_unknown)


ANY_DUE = or_(is_past(calls.c.end_check_at), is_past(calls.c.ask_at, _IS_LIVE))
"""What becomes due at a time. Silence of hours and gaps are found by the loop itself, a little later."""


async def find_silent(db: AsyncConnection, now: datetime, rules: EndRules) -> set[AccountId]:
    """Return the accounts with calls in doubt, whatever gaps there are."""
    return set(map(AccountId, await db.scalars(_accounts_with(Doubt(now, None, rules).condition()))))


async def find_after_gaps(
    db: AsyncConnection, now: datetime, ends: Mapping[AccountId, GapEnd], rules: EndRules
) -> set[AccountId]:
    """Return the accounts with calls in doubt because of their gaps, whose `ends` are given."""
    if not ends:
        return set()
    latest = max(end.at for end in ends.values())
    query = _accounts_with(and_(_IS_LIVE, calls.c.started_at < latest))
    found = set()
    for account_id in map(AccountId, (await db.scalars(query)).all()):
        gap = ends.get(account_id)
        if gap is not None and await _has_any(db, account_id, Doubt(now, gap, rules).condition()):
            found.add(account_id)
    return found


async def find_settled_holders(db: AsyncConnection, ends: Mapping[AccountId, GapEnd]) -> set[str]:
    """Return under which ids the gaps are noted that are over and leave no call in doubt."""
    settled: set[str] = set()
    for account_id, gap in ends.items():
        is_open = not (gap.is_settled or gap.lasts)
        if is_open and not await _has_any(db, account_id, unsettled_since(gap.at)):
            settled |= gap.holders
    return settled


async def load_doubtful(db: AsyncConnection, account_id: AccountId, doubt: Doubt, limit: int) -> list[Call]:
    """Return calls of an account that are in doubt, first those that are due for longest."""
    query = (
        select(calls)
        .where(calls.c.account_id == account_id, doubt.condition())
        .order_by(calls.c.ask_at, calls.c.started_at, calls.c.call_id)
        .limit(limit)
    )
    return [store.read_row(row) for row in await db.execute(query)]


async def find_due_calls(
    db: AsyncConnection, now: datetime, limit: int, held_back: Collection[AccountId] = ()
) -> dict[AccountId, list[str]]:
    """Return the ids of calls whose end is due, by account, leaving out accounts that are held back.

    The accounts take turns, and within each the call that is due longest comes first: an account with
    thousands of due calls takes as many of the `limit` as the others leave.
    """
    column = calls.c
    is_due = and_(column.end_check_at.is_not(None), column.end_check_at <= now)
    if held_back:
        is_due &= ~is_one_of(column.account_id, held_back)
    turn = func.row_number().over(partition_by=column.account_id, order_by=column.end_check_at)
    due = select(column.account_id, column.call_id, column.end_check_at, turn.label("turn")).where(is_due)
    first = due.subquery("due")
    query = select(first.c.account_id, first.c.call_id)
    query = query.order_by(first.c.turn, first.c.end_check_at).limit(limit)
    found: dict[AccountId, list[str]] = {}
    for account_id, call_id in await db.execute(query):
        found.setdefault(AccountId(account_id), []).append(call_id)
    return found


async def load_free(
    db: AsyncConnection, account_ids: Collection[AccountId], call_ids: Collection[str], now: datetime
) -> list[Call]:
    """Return those of the calls, of several accounts, whose end is still due, longest due first.

    They are locked. A call that another transaction is writing is left out.
    """
    if not account_ids:
        return []
    mine = is_one_of(calls.c.account_id, account_ids) & is_one_of(calls.c.call_id, call_ids)
    query = select(calls).where(mine, calls.c.end_check_at <= now).order_by(calls.c.end_check_at)
    return [store.read_row(row) for row in await db.execute(query.with_for_update(skip_locked=True))]


async def find_next_due(db: AsyncConnection, held_back: Collection[AccountId]) -> datetime | None:
    """Return when the end of the next call is due, leaving out accounts that are held back."""
    query = select(func.min(calls.c.end_check_at)).where(calls.c.end_check_at.is_not(None))
    if held_back:
        query = query.where(~is_one_of(calls.c.account_id, held_back))
    due_at: datetime | None = await db.scalar(query)
    return due_at


async def load_due_calls(
    db: AsyncConnection, account_id: AccountId, now: datetime, limit: int, call_id: str | None = None
) -> list[Call]:
    """Return calls whose end is due, longest due first; with `call_id` that one alone."""
    query = (
        select(calls)
        .where(calls.c.account_id == account_id, calls.c.end_check_at <= now)
        .order_by(calls.c.end_check_at)
        .limit(limit)
    )
    if call_id is not None:
        query = query.where(calls.c.call_id == call_id)
    return [store.read_row(row) for row in await db.execute(query)]


async def postpone(db: AsyncConnection, account_id: AccountId, call_id: str, until: datetime) -> None:
    """Let the end of a call that cannot be judged be due later."""
    mine = (calls.c.account_id == account_id) & (calls.c.call_id == call_id)
    await db.execute(update(calls).where(mine).values(end_check_at=until))


def _accounts_with(condition: ColumnElement[bool]) -> Select[Any]:
    return select(calls.c.account_id).where(condition).distinct()


async def _has_any(db: AsyncConnection, account_id: AccountId, condition: ColumnElement[bool]) -> bool:
    query = select(calls.c.call_id).where(calls.c.account_id == account_id, condition).limit(1)
    return await db.scalar(query) is not None
