"""Stores insights and attaches them to their calls, under the ledger.

Insights arrive by events or from requests, in any order and more than once; for each recording, the version
that was changed last is stored. Insights that arrive before their call wait in the same table without a call,
and join it in the transaction that gives the call the name of the session or of the recording.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.attachments.rules.sentiments import Maker
from app.calls.attachments.store import fill, find_in_slot
from app.calls.attachments.stored import SENTIMENT
from app.calls.attachments.subjects import Subject
from app.calls.insights.model import SOURCE, Mood, Version, is_newer, read_mood
from app.calls.ledger import Ledger
from app.calls.model import Call, ReadinessState
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import insights, recordings
from app.ids import AccountId
from app.values.times import time_text

PART = "insights"
BY_EVENT = "webhook"
BY_READING = "insights"


@dataclass(frozen=True, slots=True)
class InsightsArrival:
    """Insights of one recording as they arrived. `source`: BY_EVENT or BY_READING."""

    version: Version
    source: str
    at: datetime


def read_row(row: Row[Any]) -> Version:
    """Return the insights in a row of `insights`."""
    return Version(
        telephony_session_id=row.telephony_session_id,
        recording_id=row.recording_id,
        last_modified_at=row.last_modified_at,
        raw=row.raw,
    )


async def load_of_call(db: AsyncConnection, account_id: AccountId, call_id: str) -> Sequence[Row[Any]]:
    """Return the rows of one call, one per recording."""
    mine = (insights.c.account_id == account_id) & (insights.c.call_id == call_id)
    return (await db.execute(select(insights).where(mine).order_by(insights.c.source_id))).all()


async def load_of_calls(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, list[Row[Any]]]:
    """Return the rows of calls, one per recording, by call id; every given id has a list."""
    found: dict[str, list[Row[Any]]] = {call_id: [] for call_id in call_ids}
    if found:
        mine = (insights.c.account_id == account_id) & is_one_of(insights.c.call_id, call_ids)
        for row in await db.execute(select(insights).where(mine).order_by(insights.c.source_id)):
            found[row.call_id].append(row)
    return found


async def take(
    ledger: Ledger, arrivals: Iterable[InsightsArrival], at_hand: Mapping[str, Call] | None = None
) -> Collection[Call]:
    """Store what is newer than what is stored, and attach it to its calls; insights without a call wait.

    Returns the calls, because the insights may have been the last part that a call waited for. `at_hand`: the
    calls, by id, that this transaction has loaded; a second copy would overwrite them.
    """
    # One write per recording, however often a batch contains its insights.
    newest: dict[str, InsightsArrival] = {}
    for arrival in arrivals:
        known = newest.get(arrival.version.source_id)
        if known is None or is_newer(arrival.version, known.version):
            newest[arrival.version.source_id] = arrival
    if not newest:
        return ()
    stored = await _load(ledger, is_one_of(insights.c.source_id, newest))
    fresh = [
        arrival
        for source_id, arrival in newest.items()
        if source_id not in stored or is_newer(arrival.version, read_row(stored[source_id]))
    ]
    homes = await _find_calls(ledger, fresh, stored, at_hand or {})
    news: dict[str, list[str]] = defaultdict(list)
    # Read before the write: a sentiment that differs from this one was changed by a client.
    moods = await _moods(ledger, {call.call_id for call in homes.values()})
    for arrival in fresh:
        home = homes.get(arrival.version.source_id)
        await _write(ledger, arrival, stored.get(arrival.version.source_id), home)
        if home is not None:
            news[home.call_id].append(arrival.version.source_id)
    changed = {call.call_id: call for call in homes.values()}.values()
    for call in changed:
        await _publish(ledger, call, news[call.call_id], moods.get(call.call_id))
    return changed


async def join(ledger: Ledger, named: Mapping[str, Call], recorded: Mapping[str, Call]) -> None:
    """Give calls the insights that wait for them: `named` by `telephonySessionId`, `recorded` by recording
    id.

    Call it in the transaction that gives calls these names. It takes one query if nothing waits.
    """
    if not named and not recorded:
        return
    names = or_(
        is_one_of(insights.c.telephony_session_id, named), is_one_of(insights.c.recording_id, recorded)
    )
    waiting = await _load(ledger, insights.c.call_id.is_(None), names)
    by_call: dict[str, list[str]] = defaultdict(list)
    calls: dict[str, Call] = {}
    for source_id, row in waiting.items():
        call = named.get(row.telephony_session_id or "") or recorded.get(row.recording_id or "")
        if call is not None:
            calls[call.call_id] = call
            by_call[call.call_id].append(source_id)
    moods = await _moods(ledger, set(calls))
    for call_id, source_ids in by_call.items():
        mine = (insights.c.account_id == ledger.account_id) & is_one_of(insights.c.source_id, source_ids)
        await ledger.db.execute(update(insights).where(mine).values(call_id=call_id))
        await _publish(ledger, calls[call_id], source_ids, moods.get(call_id))


async def _load(ledger: Ledger, *conditions: ColumnElement[bool]) -> dict[str, Row[Any]]:
    query = select(insights).where(insights.c.account_id == ledger.account_id, *conditions)
    return {row.source_id: row for row in await ledger.db.execute(query.order_by(insights.c.source_id))}


async def _find_calls(
    ledger: Ledger,
    fresh: Sequence[InsightsArrival],
    stored: Mapping[str, Row[Any]],
    at_hand: Mapping[str, Call],
) -> dict[str, Call]:
    """Return the call of each, by source id: the stored one, otherwise by session, otherwise by recording."""
    sessions = {one.version.telephony_session_id for one in fresh} - {None}
    by_session = await store.load_by_sessions(ledger.db, ledger.account_id, {str(key) for key in sessions})
    by_recording = await _calls_of_recordings(ledger, fresh)
    call_ids: dict[str, str] = {}
    for one in fresh:
        source_id, session = one.version.source_id, by_session.get(one.version.telephony_session_id or "")
        row = stored.get(source_id)
        call_id = (row.call_id if row else None) or (session.call_id if session else None)
        call_id = call_id or by_recording.get(one.version.recording_id or "")
        if call_id is not None:
            call_ids[source_id] = call_id
    missing = set(call_ids.values()) - at_hand.keys()
    calls = dict(at_hand) | dict(await store.load_by_ids(ledger.db, ledger.account_id, missing))
    return {source_id: calls[call_id] for source_id, call_id in call_ids.items()}


async def _calls_of_recordings(ledger: Ledger, fresh: Sequence[InsightsArrival]) -> dict[str, str]:
    """Return the call of each recording; the first one, if linked calls name the same recording."""
    wanted = {one.version.recording_id for one in fresh if one.version.recording_id}
    if not wanted:
        return {}
    query = select(recordings.c.recording_id, recordings.c.call_id).where(
        recordings.c.account_id == ledger.account_id, is_one_of(recordings.c.recording_id, wanted)
    )
    rows = await ledger.db.execute(query.order_by(recordings.c.call_id.desc()))
    return {row.recording_id: row.call_id for row in rows}


async def _write(
    ledger: Ledger, arrival: InsightsArrival, stored: Row[Any] | None, call: Call | None
) -> None:
    version = arrival.version
    session_id = version.telephony_session_id or (stored.telephony_session_id if stored else None)
    values = {
        "call_id": call.call_id if call else None,
        "telephony_session_id": session_id,
        "recording_id": version.recording_id,
        "last_modified_at": version.last_modified_at,
        "source": arrival.source,
        "fetched_at": arrival.at,
        "raw": dict(version.raw),
    }
    key = {"account_id": ledger.account_id, "source_id": version.source_id}
    statement = upsert_into(ledger.db, insights).values({**key, **values})
    await ledger.db.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


async def _moods(ledger: Ledger, call_ids: Collection[str]) -> dict[str, Mood | None]:
    """Return the sentiments of calls from their stored insights."""
    if not call_ids:
        return {}
    rows = await _load(ledger, is_one_of(insights.c.call_id, call_ids))
    raws: dict[str, list[Any]] = defaultdict(list)
    for row in rows.values():
        raws[row.call_id].append(row.raw)
    return {call_id: read_mood(raws[call_id]) for call_id in call_ids}


async def _publish(ledger: Ledger, call: Call, source_ids: Sequence[str], before: Mood | None) -> None:
    """Make new insights visible, with the sentiment that follows from all stored ones."""
    rows = await load_of_call(ledger.db, ledger.account_id, call.call_id)
    is_first = call.readiness.get(PART, {}).get("state") != ReadinessState.READY
    call.ready(PART, ReadinessState.READY, ledger.now)
    call.insights_at = None if _is_complete(rows, call) else call.insights_at
    for row in rows:
        if row.source_id in source_ids:
            event = "insights.ready" if is_first else "insights.updated"
            changed_at = time_text(row.last_modified_at)
            ledger.change(call, event, recordingId=row.recording_id, lastModifiedTime=changed_at)
    await _set_mood(ledger, call, before, read_mood([row.raw for row in rows]))


def _is_complete(rows: Sequence[Row[Any]], call: Call) -> bool:
    """Whether every recording of the call has its insights: there is one object per recording."""
    return len(rows) >= max(1, len(call.details.get("recordingIds") or ()))


async def _set_mood(ledger: Ledger, call: Call, before: Mood | None, mood: Mood | None) -> None:
    """Set the sentiment of this source, unless a client has set, changed or removed it."""
    if mood is None or mood == before:
        return
    subject, slot = Subject(call.call_id, call), {"source": SOURCE, "made_by": Maker.MACHINE.value}
    current = await find_in_slot(ledger, SENTIMENT, subject, slot)
    expected = None if before is None else _columns(before)
    present = None if current is None else {name: current.columns[name] for name in _columns(mood)}
    if present == expected:
        await fill(ledger, SENTIMENT, subject, slot, {**_columns(mood), "scope": {"type": "call"}})


def _columns(mood: Mood) -> dict[str, Any]:
    return {"label": mood.label.value, "score": None, "confidence": None, "original": mood.original}
