"""Calls as the API shows them: from rows to JSON-ready dicts, a whole page with a constant number of queries.

`schemas` describes the same shapes; a test compares the two. Nothing here decides anything.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import Row, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import recordings, store
from app.calls.model import NO_SESSION, Stage
from app.calls.recordings import State
from app.db.lists import is_one_of
from app.db.tables import call_aliases, calls, crm_links, dispositions, notes, sentiments
from app.ids import UNBOUND_ACCOUNT, AccountId, is_alias

Json = dict[str, Any]

# Not the facts: they are many times the rest, and no reader sees them.
COLUMNS = tuple(
    calls.c[name]
    for name in (
        "account_id", "call_id", "session_id", "telephony_session_id", "stage", "absent_reason", "readiness",
        "version", "changed_seq", "direction", "internal", "outcome", "result", "action", "caller", "callee",
        "external_number", "queue_name", "started_at", "answered_at", "ended_at", "duration_seconds", "details",
        "parties", "related", "conversation_id", "primary_record_id", "source", "bootstrapped_at", "created_at", "updated_at",
    )
)  # fmt: skip


def time_text(moment: datetime | None) -> str | None:
    """Return aware UTC as RFC 3339 with milliseconds and `Z`."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# What is attached


def note_json(row: Row[Any]) -> Json:
    """Show a row of `notes`."""
    return {
        "id": row.note_id,
        **_subject(row),
        "source": row.source,
        "externalId": row.external_id,
        "title": row.title,
        "text": row.text,
        "format": row.format,
        "author": row.author,
        **_history(row),
    }


def sentiment_json(row: Row[Any]) -> Json:
    """Show a row of `sentiments`."""
    return {
        **_subject(row),
        "source": row.source,
        "label": row.label,
        "score": row.score,
        "confidence": row.confidence,
        "scope": row.scope,
        "original": row.original,
        **_history(row),
    }


def disposition_json(row: Row[Any]) -> Json:
    """Show a row of `dispositions`."""
    return {**_subject(row), "code": row.code, "label": row.label, "author": row.author, **_history(row)}


def link_json(row: Row[Any]) -> Json:
    """Show a row of `crm_links`."""
    return {**_subject(row), "crm": row.crm, "objects": row.objects, **_history(row)}


def _subject(row: Row[Any]) -> Json:
    if row.parked:
        return {"callId": None, "sessionRef": row.subject, "status": "parked"}
    return {"callId": row.subject, "sessionRef": None, "status": "attached"}


def _history(row: Row[Any]) -> Json:
    return {
        "version": row.version,
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


# What RingCentral said


def record_json(row: Row[Any], primary_id: str | None, *, legs: bool = False) -> Json:
    """Show a row of `call_records`: RingCentral's own fields, with or without its legs, and where it is from."""
    raw: Mapping[str, Any] = row.raw
    told_legs = raw.get("legs")
    shown = {name: value for name, value in raw.items() if legs or name != "legs"}
    return {
        **shown,
        "id": row.record_id,
        "primary": row.record_id == primary_id,
        "source": row.source,
        "fetchedAt": time_text(row.fetched_at),
        "legCount": len(told_legs) if isinstance(told_legs, list) else None,
    }


def records_json(rows: Iterable[Row[Any]], primary_id: str | None) -> list[Json]:
    """Show whole records, the primary one first."""
    return [record_json(row, primary_id, legs=True) for row in _primary_first(rows, primary_id)]


def legs_json(rows: Iterable[Row[Any]], primary_id: str | None) -> list[Json]:
    """Show the legs of records, those of the primary record first, each in its record's order."""
    return [
        {**leg, "recordId": row.record_id, "primary": row.record_id == primary_id, "index": index}
        for row in _primary_first(rows, primary_id)
        for index, leg in enumerate(_objects(row.raw.get("legs")))
    ]


def recordings_json(
    rows: Iterable[Row[Any]], announced: Sequence[str], kept: Mapping[str, Row[Any]]
) -> list[Json]:
    """Collect recordings from records, their legs and events, each once by its id; `kept` says how far each is."""
    found: dict[str, Json] = {}
    for row in rows:
        for part in (row.raw, *_objects(row.raw.get("legs"))):
            _add_recording(found, part.get("recording"), row.record_id)
    for recording_id in announced:
        found.setdefault(recording_id, _recording(recording_id))["announced"] = True
    return [{**shown, **_how_far(shown, kept.get(recording_id))} for recording_id, shown in found.items()]


def _how_far(shown: Json, row: Row[Any] | None) -> Json:
    state = State(row.state) if row else State.PENDING if shown["recordIds"] else State.ANNOUNCED
    is_gone = state in {State.EXPIRED, State.NONE} and (row is None or row.archive_path is None)
    return {
        "state": state.value,
        "contentType": row.content_type if row else None,
        "duration": row.duration_seconds if row else None,
        "contentUrl": None if is_gone else content_url(shown["id"]),
    }


def content_url(recording_id: str) -> str:
    """Return our own address of a recording's sound, from the root of this service."""
    return f"/v1/recordings/{quote(recording_id, safe='')}/content"


def _add_recording(found: dict[str, Json], told: Any, record_id: str) -> None:
    if not isinstance(told, Mapping) or not told.get("id"):
        return
    known = found.setdefault(str(told["id"]), _recording(str(told["id"])))
    for name in ("type", "uri", "contentUri"):
        known[name] = known[name] or told.get(name)
    if record_id not in known["recordIds"]:
        known["recordIds"].append(record_id)


def _recording(recording_id: str) -> Json:
    return {
        "id": recording_id,
        "type": None,
        "uri": None,
        "contentUri": None,
        "recordIds": [],
        "announced": False,
    }


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _primary_first(rows: Iterable[Row[Any]], primary_id: str | None) -> list[Row[Any]]:
    return sorted(rows, key=lambda row: row.record_id != primary_id)


# Whole calls

_PARTS = ("record", "legs", "recording", "insights")


def _readiness(row: Row[Any]) -> Json:
    """Say of every part how far it is, also of those that nobody has said anything about."""
    shown: Json = {}
    for part in _PARTS:
        told = row.readiness.get(part)
        if told:
            since = told.get("since")
            shown[part] = {
                "state": told["state"],
                "since": time_text(datetime.fromisoformat(since)) if since else None,
                "reason": told.get("reason"),
            }
        else:
            nothing_comes = part == "insights" or row.stage == Stage.ABSENT
            shown[part] = {"state": "none" if nothing_comes else "pending", "since": None, "reason": None}
    return shown


def _seconds_between(earlier: datetime | None, later: datetime | None) -> float | None:
    if earlier is None or later is None:
        return None
    return round((later - earlier).total_seconds(), 3)


class _Parts:
    """What hangs on the calls of a page, by call id."""

    def __init__(self) -> None:
        self.records: dict[str, list[Row[Any]]] = {}
        self.recordings: dict[str, dict[str, Row[Any]]] = {}
        self.notes: dict[str, list[Json]] = defaultdict(list)
        self.sentiments: dict[str, list[Json]] = defaultdict(list)
        self.dispositions: dict[str, list[Json]] = defaultdict(list)
        self.links: dict[str, list[Json]] = defaultdict(list)


async def load_views(db: AsyncConnection, account_id: AccountId, rows: Sequence[Row[Any]]) -> list[Json]:
    """Show whole calls, in the order of `rows`, which have `COLUMNS`."""
    parts = await _load_parts(db, account_id, rows)
    return [_call_json(row, parts) for row in rows]


async def load_views_by_id(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, Json]:
    """Show the calls with these ids of ours, by id; those that are not there are left out."""
    if not call_ids:
        return {}
    query = select(*COLUMNS).where(calls.c.account_id == account_id, is_one_of(calls.c.call_id, call_ids))
    rows = (await db.execute(query)).all()
    return {view["id"]: view for view in await load_views(db, account_id, rows)}


async def load_primary(
    db: AsyncConnection, account_id: AccountId, call_id: str
) -> tuple[str | None, list[str]]:
    """Return which record stands for a call, and the ids of the recordings that events told of."""
    query = select(calls.c.primary_record_id, calls.c.details)
    row = (await db.execute(query.where(calls.c.account_id == account_id, calls.c.call_id == call_id))).one()
    return row.primary_record_id, list(row.details.get("recordingIds") or ())


async def load_readiness(db: AsyncConnection, account_id: AccountId, call_id: str) -> tuple[Json, list[Json]]:
    """Return how far each part of a call is, and its parties."""
    query = select(calls.c.readiness, calls.c.stage, calls.c.parties)
    row: Any = (
        await db.execute(query.where(calls.c.account_id == account_id, calls.c.call_id == call_id))
    ).one()
    return _readiness(row), row.parties


async def _load_parts(db: AsyncConnection, account_id: AccountId, rows: Sequence[Row[Any]]) -> _Parts:
    parts = _Parts()
    call_ids = [row.call_id for row in rows]
    if not call_ids:
        return parts
    parts.records = await store.load_records(db, account_id, call_ids)
    parts.recordings = await recordings.load_of_calls(db, account_id, call_ids)
    for table, show, order, into in (
        (notes, note_json, ("created_at", "note_id"), parts.notes),
        (sentiments, sentiment_json, ("source",), parts.sentiments),
        (dispositions, disposition_json, (), parts.dispositions),
        (crm_links, link_json, ("crm",), parts.links),
    ):
        query = _attached(table, account_id, call_ids).order_by(*(table.c[name] for name in order))
        for row in await db.execute(query):
            into[row.subject].append(show(row))
    return parts


def _attached(table: Table, account_id: AccountId, call_ids: Sequence[str]) -> Any:
    return select(table).where(table.c.account_id == account_id, is_one_of(table.c.subject, call_ids))


def _call_json(row: Row[Any], parts: _Parts) -> Json:
    call_id = row.call_id
    details: Mapping[str, Any] = row.details
    records = _primary_first(parts.records[call_id], row.primary_record_id)
    is_nameless = row.telephony_session_id.startswith(NO_SESSION)
    return {
        "id": call_id,
        "accountId": None if row.account_id == UNBOUND_ACCOUNT else row.account_id,
        "sessionId": row.session_id,
        "telephonySessionId": None if is_nameless else row.telephony_session_id,
        "stage": row.stage,
        "absentReason": row.absent_reason,
        "readiness": _readiness(row),
        "version": row.version,
        "direction": row.direction,
        "internal": row.internal,
        "outcome": row.outcome,
        "result": row.result,
        "action": row.action,
        "from": row.caller,
        "to": row.callee,
        "externalNumber": row.external_number,
        "queueName": row.queue_name,
        "startTime": time_text(row.started_at),
        "answerTime": time_text(row.answered_at),
        "endTime": time_text(row.ended_at),
        "duration": row.duration_seconds,
        "ringSeconds": details.get("ringSeconds"),
        "talkSeconds": details.get("talkSeconds"),
        "holdSeconds": details.get("holdSeconds"),
        "recordings": recordings_json(records, details.get("recordingIds") or (), parts.recordings[call_id]),
        "records": [record_json(record, row.primary_record_id) for record in records],
        "parties": row.parties,
        "related": row.related,
        "conversationId": row.conversation_id,
        "notes": parts.notes.get(call_id, []),
        "sentiments": parts.sentiments.get(call_id, []),
        "disposition": next(iter(parts.dispositions.get(call_id, [])), None),
        "links": parts.links.get(call_id, []),
        "source": row.source,
        "bootstrappedAt": time_text(row.bootstrapped_at),
        "timeToRecordSeconds": _seconds_between(row.ended_at, row.bootstrapped_at),
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


# By name


async def resolve_names(
    db: AsyncConnection, account_id: AccountId, names: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the calls that each name means, as `store.find_ids` does for one."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for column in (calls.c.call_id, calls.c.telephony_session_id):
        mine = select(column.label("name"), calls.c.call_id).where(calls.c.account_id == account_id)
        for row in await db.execute(mine.where(is_one_of(column, found))):
            found[row.name].append(row.call_id)
    left = sorted(name for name, ids in found.items() if not ids and is_alias(name))
    if left:
        aliased = select(call_aliases.c.alias, call_aliases.c.call_id).where(
            call_aliases.c.account_id == account_id, is_one_of(call_aliases.c.alias, left)
        )
        for row in await db.execute(aliased.order_by(call_aliases.c.call_id)):
            found[row.alias].append(row.call_id)
    return found


async def count_parked_notes(db: AsyncConnection, account_id: AccountId, name: str) -> int:
    """Return how many notes wait for a call of this name."""
    query = select(func.count()).where(
        notes.c.account_id == account_id, notes.c.subject == name, notes.c.parked.is_(True)
    )
    return int(await db.scalar(query) or 0)
