"""The recordings of calls: their states, when each is checked next, and where it is archived.

A recording is `announced` by an event during the call, `pending` once a record names it, then `ready`; or
`expired` if it did not become ready in time; or `none` if it was too short to be stored (guide "Call
recordings": up to 30 s). Linked calls may name the same recording: it has a row for each, and the rows are
checked together.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.model import Call
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import call_parties, recordings
from app.ids import AccountId

PART = "recording"
NOT_THERE = "not there"
"""The problem of a recording that RingCentral did not have when it was requested."""


class State(StrEnum):
    """The state of a recording."""

    ANNOUNCED = "announced"
    PENDING = "pending"
    READY = "ready"
    EXPIRED = "expired"
    NONE = "none"


OPEN = frozenset({State.ANNOUNCED, State.PENDING})
"""States from which it may still become ready."""

_BEST_FIRST = (State.READY, State.PENDING, State.ANNOUNCED, State.EXPIRED, State.NONE)


def readiness_of(states: Iterable[str]) -> str:
    """Return the state of a call's recordings together: `pending` while one is open, otherwise the best."""
    present = {State(state) for state in states}
    if present & OPEN:
        return State.PENDING
    return next((state for state in (State.READY, State.EXPIRED) if state in present), State.NONE)


def best_of(rows: Sequence[Row[Any]]) -> Row[Any]:
    """Return the row with the best state: the rows of linked calls for the same recording may differ."""
    return min(rows, key=lambda row: _BEST_FIRST.index(State(row.state)))


def is_awaited(call: Call) -> bool:
    """Whether a recording of the call may still become ready."""
    return bool(call.readiness.get(PART, {}).get("state") == State.PENDING)


async def load_of_calls(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, dict[str, Row[Any]]]:
    """Return rows by call id and recording id, with a dict for every given call."""
    found: dict[str, dict[str, Row[Any]]] = {call_id: {} for call_id in call_ids}
    if call_ids:
        mine = (recordings.c.account_id == account_id) & is_one_of(recordings.c.call_id, call_ids)
        for row in await db.execute(select(recordings).where(mine).order_by(recordings.c.recording_id)):
            found[row.call_id][row.recording_id] = row
    return found


async def load(db: AsyncConnection, account_id: AccountId, recording_id: str) -> list[Row[Any]]:
    """Return the rows of one recording, one per call that names it."""
    mine = (recordings.c.account_id == account_id) & (recordings.c.recording_id == recording_id)
    return list((await db.execute(select(recordings).where(mine).order_by(recordings.c.call_id))).all())


async def save(db: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows from records; of a row that exists, update only the columns that records determine."""
    if not rows:
        return
    statement = upsert_into(db, recordings)
    updated = ("state", "type", "content_uri", "due_at", "attempts", "problem", "updated_at")
    statement = statement.on_conflict_do_update(
        index_elements=["account_id", "recording_id", "call_id"],
        set_={name: statement.excluded[name] for name in updated},
    )
    await db.execute(statement, [dict(row) for row in rows])


async def load_open(db: AsyncConnection, account_id: AccountId, recording_id: str) -> list[Row[Any]]:
    """Return the rows of one recording from whose states it may still become ready."""
    return [row for row in await load(db, account_id, recording_id) if State(row.state) in OPEN]


async def change(
    db: AsyncConnection,
    account_id: AccountId,
    recording_id: str,
    call_ids: Collection[str] | None = None,
    *,
    states: Collection[str] | None = None,
    **values: Any,
) -> None:
    """Change a recording for the given calls, or for all that name it; only in one of `states`, if given."""
    mine = (recordings.c.account_id == account_id) & (recordings.c.recording_id == recording_id)
    if call_ids is not None:
        mine &= is_one_of(recordings.c.call_id, call_ids)
    if states is not None:
        mine &= recordings.c.state.in_(sorted(states))
    await db.execute(update(recordings).where(mine).values(values))


async def find_due_accounts(db: AsyncConnection, states: Collection[str], now: datetime) -> list[AccountId]:
    """Return the accounts with due recordings in one of these states."""
    query = select(recordings.c.account_id).where(
        recordings.c.due_at <= now, recordings.c.state.in_(sorted(states))
    )
    return [AccountId(account_id) for account_id in await db.scalars(query.distinct())]


async def find_next_due(db: AsyncConnection, states: Collection[str], now: datetime) -> datetime | None:
    """Return the next time after `now` at which a recording in one of these states is due."""
    query = select(func.min(recordings.c.due_at)).where(
        recordings.c.due_at > now, recordings.c.state.in_(sorted(states))
    )
    due_at: datetime | None = await db.scalar(query)
    return due_at


async def claim_due(
    db: AsyncConnection, account_id: AccountId, states: Collection[str], now: datetime, until: datetime
) -> str | None:
    """Claim the recording that has been due longest, so that no other replica does before `until`.

    The new due time is the lease: if this replica crashes, the recording is due again at `until`.
    """
    wanted = (
        (recordings.c.account_id == account_id)
        & (recordings.c.due_at <= now)
        & recordings.c.state.in_(sorted(states))
    )
    order = (recordings.c.due_at, recordings.c.recording_id)
    recording_id: str | None = await db.scalar(
        select(recordings.c.recording_id).where(wanted).order_by(*order).limit(1)
    )
    if recording_id is None:
        return None
    # Another replica may have claimed it since the query: then the condition matches no row.
    taken = update(recordings).where(wanted, recordings.c.recording_id == recording_id).values(due_at=until)
    return recording_id if (await db.execute(taken)).rowcount else None


async def extensions_of(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> frozenset[str]:
    """Return the ids of the extensions that took part in these calls."""
    query = select(call_parties.c.value).where(
        call_parties.c.account_id == account_id,
        is_one_of(call_parties.c.call_id, call_ids),
        call_parties.c.kind == "extension",
    )
    return frozenset(await db.scalars(query))
