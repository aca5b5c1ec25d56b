"""Calls as the API shows them: from rows to JSON-ready dicts, with a constant number of queries per page.

`schemas` describes the same shapes; a test compares the two.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.attachments.rules.sentiments import choose
from app.calls.attachments.stored import (
    DISPOSITION,
    LINK,
    NOTE,
    SENTIMENT,
)
from app.calls.media import recordings, voicemails
from app.calls.media.recordings import RecordingRow, State
from app.calls.media.voicemails import VoicemailRow
from app.calls.model import NO_SESSION, Outcome, ReadinessState, Stage
from app.calls.parts.loading import PartsOfCall, RecordRow, load_parts
from app.db.lists import is_one_of
from app.db.tables import call_aliases, calls, timeline
from app.ids import UNBOUND_ACCOUNT, AccountId, is_alias
from app.values.times import time_text

Json = dict[str, Any]
StoredRecord = Row[Any] | RecordRow

_LAST_CHANGE = (timeline.c.account_id == calls.c.account_id) & (timeline.c.seq == calls.c.changed_seq)
# Without the facts, which are many times larger than the rest and not shown.
_SHOWN = (
    "account_id", "call_id", "session_id", "telephony_session_id", "stage", "absent_reason", "readiness",
    "version", "changed_seq", "direction", "internal", "outcome", "result", "action", "caller", "callee",
    "external_number", "queue_name", "agent_extension_id",
    "started_at", "answered_at", "ended_at", "duration_seconds",
    "details",
    "parties", "related", "conversation_id", "main_call_id", "primary_record_id", "source",
    "bootstrapped_at", "created_at", "updated_at",
)  # fmt: skip
MARK = select(timeline.c.mark).where(_LAST_CHANGE).correlate(calls).scalar_subquery().label("mark")
"""That of the last change of a call, with which a version is the same in no other history of the database."""

COLUMNS = (*(calls.c[name] for name in _SHOWN), MARK)


# Records and recordings


def record_json(row: StoredRecord, primary_id: str | None, *, legs: bool = False) -> Json:
    """Return a row of `call_records` as the API shows it: RingCentral's own fields and their source."""
    raw: Mapping[str, Any] = row.raw
    raw_legs = raw.get("legs")
    shown = {name: value for name, value in raw.items() if legs or name != "legs"}
    return {
        **shown,
        "id": row.record_id,
        "primary": row.record_id == primary_id,
        "source": row.source,
        "fetchedAt": time_text(row.fetched_at),
        "legCount": len(raw_legs) if isinstance(raw_legs, list) else None,
    }


def records_json(rows: Iterable[Row[Any]], primary_id: str | None) -> list[Json]:
    """Return whole records, the primary one first."""
    return [record_json(row, primary_id, legs=True) for row in _primary_first(rows, primary_id)]


def legs_json(rows: Iterable[Row[Any]], primary_id: str | None) -> list[Json]:
    """Return the legs of records in the order of each record, those of the primary record first."""
    return [
        {**leg, "recordId": row.record_id, "primary": row.record_id == primary_id, "index": index}
        for row in _primary_first(rows, primary_id)
        for index, leg in enumerate(_objects(row.raw.get("legs")))
    ]


def recordings_json(
    rows: Collection[StoredRecord],
    details: Mapping[str, Any],
    stored: Mapping[str, RecordingRow],
) -> list[Json]:
    """Collect recordings from records, their legs and events, each once. `stored`: their rows, by id.

    `details` of the call have the ids of those that events announced, and of those that are running.
    """
    found: dict[str, Json] = {}
    for row in rows:
        for part in (row.raw, *_objects(row.raw.get("legs"))):
            _add_recording(found, part.get("recording"), row.record_id)
    active = details.get("activeRecordingIds") or ()
    for recording_id in details.get("recordingIds") or ():
        found.setdefault(recording_id, _recording(recording_id))["announced"] = True
    for recording_id, kept in stored.items() if not rows else ():
        # The raw records were removed after their retention: the rows still say what they named.
        found.setdefault(recording_id, _recording(recording_id))["type"] = kept.type
    return [
        {
            **shown,
            "active": recording_id in active,
            **_recording_state(shown, stored.get(recording_id)),
        }
        for recording_id, shown in found.items()
    ]


def _recording_state(shown: Json, row: RecordingRow | None) -> Json:
    state = row.state if row else State.PENDING if shown["recordIds"] else State.ANNOUNCED
    # An archived recording is still available after it has expired at RingCentral.
    is_gone = state in {State.EXPIRED, State.NONE} and (row is None or row.archive_path is None)
    return {
        "state": state.value,
        "contentType": row.content_type if row else None,
        "duration": row.duration_seconds if row else None,
        "contentUrl": None if is_gone else content_url(shown["id"]),
    }


def content_url(recording_id: str) -> str:
    """Return the path of a recording's audio on this service."""
    return f"/v1/recordings/{quote(recording_id, safe='')}/content"


def voicemails_json(rows: Collection[VoicemailRow]) -> Json | None:
    """Return the voicemail of a call, the most promising one if there are several; None if there is none."""
    return voicemail_json(voicemails.best_of(rows)) if rows else None


def voicemail_json(row: VoicemailRow) -> Json:
    """Return one voicemail as a call shows it."""
    # An archived voicemail is still available after it has expired at RingCentral.
    is_gone = row.state in _SILENT_VOICEMAILS and row.archive_path is None
    is_forbidden = row.state is voicemails.VoicemailState.NO_PERMISSION
    return {
        "id": row.voicemail_id,
        "extensionId": row.extension_id,
        "state": row.state.value,
        "duration": row.duration_seconds,
        "contentType": row.content_type,
        "transcript": row.transcript,
        "transcriptStatus": row.transcript_status,
        "contentUrl": None if is_gone else voicemail_url(row.voicemail_id),
        "problem": row.problem,
        "remedy": voicemails.remedy_of(row.problem, row.extension_id) if is_forbidden else None,
    }


_SILENT_VOICEMAILS = frozenset({voicemails.VoicemailState.EXPIRED, voicemails.VoicemailState.NONE})


def voicemail_url(voicemail_id: str) -> str:
    """Return the path of a voicemail's audio on this service."""
    return f"/v1/voicemails/{quote(voicemail_id, safe='')}/content"


def _add_recording(found: dict[str, Json], named: Any, record_id: str) -> None:
    if not isinstance(named, Mapping) or not named.get("id"):
        return
    known = found.setdefault(str(named["id"]), _recording(str(named["id"])))
    for name in ("type", "uri", "contentUri"):
        # Records and legs may each have a part of the fields.
        known[name] = known[name] or named.get(name)
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


def _primary_first(rows: Iterable[StoredRecord], primary_id: str | None) -> list[StoredRecord]:
    return sorted(rows, key=lambda row: row.record_id != primary_id)


# Whole calls

_PARTS = ("record", "legs", "recording", "voicemail", "insights")


def readiness_json(row: Row[Any]) -> Json:
    """Return the state of every part, including parts without a stored state."""
    shown: Json = {}
    for part in _PARTS:
        stored = row.readiness.get(part)
        if stored:
            since = stored.get("since")
            shown[part] = {
                "state": stored["state"],
                "since": time_text(datetime.fromisoformat(since)) if since else None,
                "reason": stored.get("reason"),
            }
        else:
            # Calls of earlier versions have no state of a voicemail.
            is_late = part == "voicemail" and row.stage not in (Stage.LIVE, Stage.ENDED)
            will_not_come = part == "insights" or row.stage == Stage.ABSENT or is_late
            state = ReadinessState.NONE if will_not_come else ReadinessState.PENDING
            shown[part] = {"state": state.value, "since": None, "reason": None}
    return shown


def _seconds_between(earlier: datetime | None, later: datetime | None) -> float | None:
    if earlier is None or later is None:
        return None
    return round((later - earlier).total_seconds(), 3)


async def load_views(db: AsyncConnection, account_id: AccountId, rows: Sequence[Row[Any]]) -> list[Json]:
    """Return whole calls, in the order of `rows`, which have `COLUMNS`."""
    parts = await load_parts(db, account_id, [row.call_id for row in rows])
    return [_call_json(row, parts[row.call_id]) for row in rows]


async def load_views_by_id(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, Json]:
    """Return the calls with these ids of ours, by id, without those that do not exist."""
    if not call_ids:
        return {}
    query = select(*COLUMNS).where(calls.c.account_id == account_id, is_one_of(calls.c.call_id, call_ids))
    rows = (await db.execute(query)).all()
    return {view["id"]: view for view in await load_views(db, account_id, rows)}


async def load_row_by_name(db: AsyncConnection, account_id: AccountId, name: str) -> Row[Any] | None:
    """Return the one call with this name, with `COLUMNS`, as `store.find_id` finds it; None if there is none.

    Raises AmbiguousCall.
    """
    mine = select(*COLUMNS).where(calls.c.account_id == account_id)
    rows = (await db.execute(mine.where(store.is_own_name(name)))).all()
    if not rows:
        call_id = await store.find_alias(db, account_id, name)
        rows = (await db.execute(mine.where(calls.c.call_id == call_id))).all() if call_id else []
    return next(iter(rows), None)


async def load_primary(db: AsyncConnection, account_id: AccountId, call_id: str) -> str | None:
    """Return the id of a call's primary record."""
    query = select(calls.c.primary_record_id)
    found: str | None = await db.scalar(
        query.where(calls.c.account_id == account_id, calls.c.call_id == call_id)
    )
    return found


async def load_recordings(db: AsyncConnection, account_id: AccountId, call_id: str) -> list[Json]:
    """Return the recordings of a call."""
    rows = (await store.load_records(db, account_id, [call_id]))[call_id]
    stored = (await recordings.load_of_calls(db, account_id, [call_id]))[call_id]
    query = select(calls.c.details).where(calls.c.account_id == account_id, calls.c.call_id == call_id)
    return recordings_json(rows, (await db.execute(query)).scalar_one(), stored)


async def load_readiness(db: AsyncConnection, account_id: AccountId, call_id: str) -> tuple[Json, list[Json]]:
    """Return the readiness of a call's parts, and its parties."""
    query = select(calls.c.readiness, calls.c.stage, calls.c.parties)
    row: Any = (
        await db.execute(query.where(calls.c.account_id == account_id, calls.c.call_id == call_id))
    ).one()
    return readiness_json(row), row.parties


def _call_json(row: Row[Any], parts: PartsOfCall) -> Json:
    call_id, attached = row.call_id, parts.attachments
    details: Mapping[str, Any] = row.details
    records = _primary_first(parts.records, row.primary_record_id)
    is_nameless = row.telephony_session_id.startswith(NO_SESSION)
    agents = details.get("agents") or []
    return {
        "id": call_id,
        "accountId": None if row.account_id == UNBOUND_ACCOUNT else row.account_id,
        "sessionId": row.session_id,
        "telephonySessionId": None if is_nameless else row.telephony_session_id,
        "stage": row.stage,
        "absentReason": row.absent_reason,
        "readiness": readiness_json(row),
        "version": row.version,
        "direction": row.direction,
        "internal": row.internal,
        "outcome": row.outcome,
        "type": _type_of(row, records),
        "result": row.result,
        "action": row.action,
        "from": row.caller,
        "to": row.callee,
        "externalNumber": row.external_number,
        "queueName": row.queue_name,
        "agents": agents,
        "agent": _agent(agents, row.agent_extension_id),
        "origin": details.get("origin"),
        "transferredTo": details.get("transferredTo"),
        "parkId": details.get("parkId"),
        "onBehalfOf": details.get("onBehalfOf"),
        "startTime": time_text(row.started_at),
        "answerTime": time_text(row.answered_at),
        "endTime": time_text(row.ended_at),
        "duration": row.duration_seconds,
        "ringSeconds": details.get("ringSeconds"),
        "talkSeconds": details.get("talkSeconds"),
        "holdSeconds": details.get("holdSeconds"),
        "recordings": recordings_json(records, details, parts.recordings),
        "voicemail": voicemails_json(parts.voicemails.values()),
        "records": [record_json(record, row.primary_record_id) for record in records],
        "parties": row.parties,
        "related": row.related,
        "conversationId": row.conversation_id,
        "conversation": _conversation(row),
        "notes": attached.get(NOTE.word, []),
        "sentiments": attached.get(SENTIMENT.word, []),
        "sentiment": _sentiment(attached.get(SENTIMENT.word, [])),
        "disposition": next(iter(attached.get(DISPOSITION.word, [])), None),
        "links": attached.get(LINK.word, []),
        "source": row.source,
        "bootstrappedAt": time_text(row.bootstrapped_at),
        "timeToRecordSeconds": _seconds_between(row.ended_at, row.bootstrapped_at),
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


def _agent(agents: Iterable[Json], extension_id: str | None) -> Json | None:
    """Return the agent who owns the call, if one does."""
    if not extension_id:
        return None
    return next((one for one in agents if one["extensionId"] == extension_id), None)


def _sentiment(sentiments: Iterable[Json]) -> Json | None:
    """Return what counts of the sentiments of a call."""
    chosen = choose(sentiments)
    if chosen is None:
        return None
    return {name: chosen[name] for name in ("source", "madeBy", "label", "score")}


def _conversation(row: Row[Any]) -> Json:
    return {
        "id": row.conversation_id,
        "mainCallId": row.main_call_id or row.call_id,
        "isMain": row.main_call_id is None,
    }


def _type_of(row: Row[Any], records: Sequence[StoredRecord]) -> str:
    """Return whether a call is a fax: as its primary record says, or its events if it has none."""
    stated = records[0].raw.get("type") if records else None
    is_fax = stated.casefold() == "fax" if isinstance(stated, str) else row.outcome == Outcome.FAX
    return "fax" if is_fax else "voice"


# Names


async def resolve_names(
    db: AsyncConnection, account_id: AccountId, names: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the calls that match each name, as `store.find_ids` does for one."""
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
