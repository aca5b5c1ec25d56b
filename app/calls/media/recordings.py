"""The recordings of calls: their states, when each is checked next, and where it is archived.

A recording is `announced` by an event during the call, `pending` once a record names it, then `ready`; or
`expired` if it did not become ready in time; or `none` if it was too short to be stored (guide "Call
recordings": up to 30 s). Linked calls may name the same recording: it has a row for each, and the rows are
checked together.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.media.rows import MediaRow, MediaTable
from app.calls.model import Call
from app.db.tables import recordings
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
class RecordingRow(MediaRow):
    """A recording of one call: a row of the table, which says what each field is."""

    recording_id: str
    state: State
    type: str | None = None


TABLE = MediaTable(
    recordings,
    "recording_id",
    written=("state", "type", "content_uri", "due_at", "attempts", "problem", "updated_at"),
)
change = TABLE.change
save = TABLE.save
find_due_accounts = TABLE.find_due_accounts
find_next_due = TABLE.find_next_due
claim_due = TABLE.claim_due


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
    for row in await TABLE.rows_of_calls(db, account_id, call_ids) if call_ids else ():
        found[row.call_id][row.recording_id] = _read_row(row)
    return found


async def load(db: AsyncConnection, account_id: AccountId, recording_id: str) -> list[RecordingRow]:
    """Return the rows of one recording, one per call that names it; there may be none."""
    return [_read_row(row) for row in await TABLE.rows(db, account_id, recording_id)]


async def load_open(db: AsyncConnection, account_id: AccountId, recording_id: str) -> list[RecordingRow]:
    """Return the rows of one recording with a state in which it may still become ready."""
    return [row for row in await load(db, account_id, recording_id) if row.state in OPEN]
