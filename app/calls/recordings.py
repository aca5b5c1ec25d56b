"""The recordings of calls: their states, when each is checked next, and where it is archived.

A recording is `announced` by an event during the call, `pending` once a record names it, then `ready`; or
`expired` if it did not become ready in time; or `none` if it was too short to be stored (guide "Call
recordings": up to 30 s). Linked calls may name the same recording: it has a row for each, and the rows are
checked together.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRow:
    """A recording of one call: a row of the table, which says what each field is."""

    account_id: str
    recording_id: str
    call_id: str
    state: State
    type: str | None = None
    content_uri: str | None = None
    content_type: str | None = None
    duration_seconds: float | None = None
    attempts: int = 0
    due_at: datetime | None = None
    problem: str | None = None
    archive_path: str | None = None
    archive_bytes: int | None = None
    archive_sha256: str | None = None
    archived_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


def _read_row(row: Row[Any]) -> RecordingRow:
    return RecordingRow(**{**row._mapping, "state": State(row.state)})  # noqa: SLF001 - the documented way to keywords


_BEST_FIRST = (State.READY, State.PENDING, State.ANNOUNCED, State.EXPIRED, State.NONE)


def readiness_of(states: Iterable[str]) -> str:
    """Return the state of a call's recordings together: `pending` while one is open, otherwise the best."""
    present = {State(state) for state in states}
    if present & OPEN:
        return State.PENDING
    return next((state for state in (State.READY, State.EXPIRED) if state in present), State.NONE)


def best_of(rows: Sequence[RecordingRow]) -> RecordingRow:
    """Return the most promising row of one recording: its calls may know different states."""
    return min(rows, key=lambda row: _BEST_FIRST.index(row.state))


def is_awaited(call: Call) -> bool:
    """Whether a recording of the call may still become ready."""
    return bool(call.readiness.get(PART, {}).get("state") == State.PENDING)


async def load_of_calls(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, dict[str, RecordingRow]]:
    """Return rows by call id and recording id; every asked call has a dict."""
    found: dict[str, dict[str, RecordingRow]] = {call_id: {} for call_id in call_ids}
    if call_ids:
        mine = (recordings.c.account_id == account_id) & is_one_of(recordings.c.call_id, call_ids)
        for row in await db.execute(select(recordings).where(mine).order_by(recordings.c.recording_id)):
            found[row.call_id][row.recording_id] = _read_row(row)
    return found


async def load(db: AsyncConnection, account_id: AccountId, recording_id: str) -> list[RecordingRow]:
    """Return the rows of one recording, one per call that names it; there may be none."""
    mine = (recordings.c.account_id == account_id) & (recordings.c.recording_id == recording_id)
    query = select(recordings).where(mine).order_by(recordings.c.call_id)
    return [_read_row(row) for row in await db.execute(query)]


async def save(db: AsyncConnection, rows: Sequence[RecordingRow]) -> None:
    """Write rows that records have changed; of rows that exist, only what records know."""
    if not rows:
        return
    statement = upsert_into(db, recordings)
    updated = ("state", "type", "content_uri", "due_at", "attempts", "problem", "updated_at")
    statement = statement.on_conflict_do_update(
        index_elements=["account_id", "recording_id", "call_id"],
        set_={name: statement.excluded[name] for name in updated},
    )
    await db.execute(statement, [asdict(row) for row in rows])


async def load_open(db: AsyncConnection, account_id: AccountId, recording_id: str) -> list[RecordingRow]:
    """Return the rows of one recording with a state in which it may still become ready."""
    return [row for row in await load(db, account_id, recording_id) if row.state in OPEN]


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
