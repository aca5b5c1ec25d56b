"""Tombstones: the calls that were erased, and the names under which RingCentral may still tell of them.

Whatever would open a call asks here first, so nothing that arrives late brings an erased call back: a
delivery, a poll, a read or a sweep of the Call Log, a backfill, insights, or a note that waits for its call.
A tombstone has the ids of sessions and recordings, and nothing of the people in a call.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.model import NO_SESSION, Call
from app.db.lists import insert_rows, is_one_of
from app.db.tables import erased_calls, erased_names, notes
from app.errors import CallErased, NotFound
from app.ids import AccountId, is_alias
from app.values.times import time_text

_RECORDING = "recording:"


def recording_name(recording_id: str) -> str:
    """Return the name under which the recording of an erased call is known."""
    return f"{_RECORDING}{recording_id}"


def session_names(telephony_session_id: str | None, session_id: str | None) -> list[str]:
    """Return the names that a session has in tombstones; "0", which identifies none, is left out."""
    shown = (telephony_session_id, session_id)
    return [
        name.removeprefix(NO_SESSION) for name in shown if name and is_alias(name.removeprefix(NO_SESSION))
    ]


async def write_tombstones(
    db: AsyncConnection,
    calls: Iterable[Call],
    names: Mapping[str, Collection[str]],
    erasure_id: str,
    now: datetime,
) -> None:
    """Write the tombstones of calls that are erased in this transaction, under the ledger.

    `names`: by call id, what else RingCentral calls them by.
    """
    tombstones, named = [], []
    for call in calls:
        tombstones.append(
            {
                "account_id": call.account_id,
                "call_id": call.call_id,
                "telephony_session_id": call.telephony_session_id,
                "session_id": call.session_id,
                "erasure_id": erasure_id,
                "erased_at": now,
            }
        )
        own = session_names(call.telephony_session_id, call.session_id)
        named += [
            {"account_id": call.account_id, "name": name, "call_id": call.call_id}
            for name in sorted({*own, *names.get(call.call_id, ())})
        ]
    await insert_rows(db, erased_calls, tombstones, or_ignore=True)
    await insert_rows(db, erased_names, named, or_ignore=True)


async def find_erased(db: AsyncConnection, account_id: AccountId, names: Collection[str]) -> set[str]:
    """Return which of these names are those of erased calls: sessions, or see `recording_name`."""
    if not names:
        return set()
    mine = (erased_names.c.account_id == account_id) & is_one_of(erased_names.c.name, names)
    return set(await db.scalars(select(erased_names.c.name).where(mine)))


async def find_erased_calls(
    db: AsyncConnection, account_id: AccountId, names: Collection[str]
) -> dict[str, datetime]:
    """Return when the call of each name was erased; names without an erased call are left out.

    A name is any name of a call. Look for the call itself first: another call may have the same `sessionId`.
    """
    if not names:
        return {}
    named = select(erased_names.c.name, erased_calls.c.erased_at).join(
        erased_calls,
        (erased_calls.c.account_id == erased_names.c.account_id)
        & (erased_calls.c.call_id == erased_names.c.call_id),
    )
    own = select(erased_calls.c.call_id, erased_calls.c.erased_at)
    found: dict[str, datetime] = {}
    for query, column in ((named, erased_names.c.name), (own, erased_calls.c.call_id)):
        mine: ColumnElement[bool] = erased_calls.c.account_id == account_id
        found |= {row[0]: row[1] for row in await db.execute(query.where(mine, is_one_of(column, names)))}
    return found


async def check_not_erased(db: AsyncConnection, account_id: AccountId, name: str) -> None:
    """Raises CallErased if the call with this name was erased. Ask only after no call was found."""
    erased = await find_erased_calls(db, account_id, [name])
    if name in erased:
        raise erased_call(name, erased[name])


def erased_call(name: str, erased_at: datetime) -> CallErased:
    """Return why nothing can be done with an erased call."""
    return CallErased(
        f"The call {name} was erased. Nothing of it is stored, and nothing can be attached to it.",
        erasedAt=time_text(erased_at),
    )


async def _count_parked_notes(db: AsyncConnection, account_id: AccountId, name: str) -> int:
    """Return how many notes are parked under this name."""
    query = select(func.count()).where(
        notes.c.account_id == account_id, notes.c.subject == name, notes.c.parked.is_(True)
    )
    return int(await db.scalar(query) or 0)


async def no_call(db: AsyncConnection, account_id: AccountId, name: str) -> NotFound:
    """Return why no call has this name. Raises CallErased."""
    await check_not_erased(db, account_id, name)
    parked = await _count_parked_notes(db, account_id, name)
    waiting = f"; {parked} {'note waits' if parked == 1 else 'notes wait'} for it" if parked else ""
    hint = (
        "" if name.startswith("call_") else " You can attach notes to its sessionId before the call is known."
    )
    return NotFound(f"No call is known as {name}{waiting}.{hint}", parkedNotes=parked)
