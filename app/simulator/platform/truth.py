"""The truth about calls: everything about them, including what no API shows yet. No I/O, no clock."""

from collections import Counter
from datetime import datetime

from app.simulator.platform.calls import CallStore
from app.simulator.platform.insights import analysed_at
from app.simulator.platform.subscriptions import event_path
from app.simulator.platform.views import iso, message_ready_at, recording_ready_at, shown_at, shown_until
from app.simulator.platform.voicemails import seconds_of
from app.simulator.scripting.model import Json, Record, Recording, ScriptedCall, Session


def describe_call(store: CallStore, call: ScriptedCall, account_id: str, now: datetime) -> Json:
    """Return the truth of a call; docs/simulator.md names its fields."""
    return {
        "id": call.id,
        "script": call.script,
        "speed": call.speed,
        "startedAt": iso(call.started_at),
        "endedAt": iso(call.ended_at),
        "isOver": call.ended_at <= now,
        "sessions": [_describe_session(store, call, session, account_id) for session in call.sessions],
    }


def _describe_session(store: CallStore, call: ScriptedCall, session: Session, account_id: str) -> Json:
    events = [event for event in call.events if event.session == session]
    delivered = [event for event in events if event.delivered]
    paths = {event_path(account_id, event.extension_id, "telephony/sessions") for event in events}
    return {
        "sessionId": session.session_id,
        "telephonySessionId": session.telephony_session_id,
        "origin": session.origin,
        "startedAt": iso(session.started_at),
        "endedAt": iso(session.ended_at),
        "events": len(events),
        "eventsDelivered": len(delivered),
        "lastEventSentAt": iso(delivered[-1].at) if delivered else None,
        "eventPaths": sorted(paths),
        "records": [_describe_record(store, record) for record in call.records if record.session == session],
        "recordings": [
            _describe_recording(store, recording)
            for recording in call.recordings
            if recording.telephony_session_id == session.telephony_session_id
        ],
    }


def _describe_record(store: CallStore, record: Record) -> Json:
    final, moments = record.final, shown_at(record, store.timing)
    return {
        "id": record.id,
        "extensionId": record.extension_id,
        "direction": final.summary.direction,
        "action": final.summary.action,
        "result": final.summary.result,
        "duration": final.summary.duration,
        "activeFrom": iso(moments[0]),
        "finalInActiveCallsFrom": iso(moments[-1]),
        "activeUntil": iso(shown_until(record, store.timing)),
        "callLog": [
            {"at": iso(revision.at), "kind": revision.kind, "result": revision.stage.summary.result}
            for revision in store.revisions_of(record)
        ],
        "voicemail": _describe_voicemail(store, record),
        "firstServedFinalByActiveCalls": _iso_or_none(store.served_active.get(record.id)),
        "firstServedFinalByCallLog": _iso_or_none(store.served_log.get(record.id)),
    }


def _describe_voicemail(store: CallStore, record: Record) -> Json | None:
    ready_at = message_ready_at(record, store.timing)
    if record.message_id is None or ready_at is None:
        return None
    return {
        "id": record.message_id,
        "seconds": seconds_of(record),
        "readyAt": iso(ready_at),
        "transcribedAt": iso(record.after(ready_at, store.timing.transcript_delay)),
        "purged": record.message_id in store.purged_messages,
    }


def _describe_recording(store: CallStore, recording: Recording) -> Json:
    record = store.record_of(recording)
    return {
        "id": recording.id,
        "type": recording.kind,
        "seconds": round(recording.seconds, 3),
        "readyAt": _iso_or_none(recording_ready_at(record, store.timing)),
        "purged": recording.id in store.purged,
        "insightsFrom": iso(analysed_at(record, recording, store.timing, notes=False)[0]),
    }


def count_calls(store: CallStore, now: datetime) -> Json:
    return {
        "started": sum(call.started_at <= now for call in store),
        "ended": sum(call.ended_at <= now for call in store),
        "byScript": dict(Counter(call.script for call in store)),
    }


def _iso_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
