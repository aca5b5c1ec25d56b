"""Which recordings a call has by its records and events, and how that changes their stored rows. No I/O."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.calls.media.recordings import NOT_THERE, OPEN, PART, RecordingRow, State, readiness_of
from app.calls.model import Call
from app.ringcentral.models import CallRecord


@dataclass(frozen=True, slots=True)
class _Named:
    """A recording as records and events name it, with RingCentral's type and address."""

    state: State
    type: str | None = None
    address: str | None = None


def take_named_recordings(
    call: Call,
    records: Sequence[CallRecord],
    known: Mapping[str, RecordingRow],
    now: datetime,
    first_after: timedelta,
) -> list[RecordingRow]:
    """Return the rows to write, and set the call's readiness.

    `known` has the stored rows by recording id. Records that repeat a settled recording do not change it. A
    recording whose state was `none` and that a record names after all is requested again, as if it had never
    been.
    """
    announced = [str(one) for one in call.details.get("recordingIds") or ()]
    first_look_at = max(now, (call.ended_at or now) + first_after)
    rows = []
    for recording_id, named in _read(records, announced).items():
        row = known.get(recording_id)
        if row is None:
            row = _open(call, recording_id, named, now, first_look_at)
        elif _is_news(row, named):
            row = _update(row, named, now, first_look_at)
        else:
            continue
        rows.append(row)
    _set_readiness(call, known, rows, now)
    return rows


def settle_recordings(
    call: Call, known: Mapping[str, RecordingRow], now: datetime, *, archives: bool
) -> list[RecordingRow]:
    """Return the rows to write once a call's Detailed records do not change any more, and set the call's
    readiness.

    A recording whose address such a record has is ready: "the call-log record often appears without a
    recording first and gets it later" (reports from the field). That saves the request that would ask for it.
    A recording that no record names is requested at once. A recording that RingCentral did not have when
    asked is not settled by its record.
    """
    rows = []
    for row in known.values():
        was_denied = row.attempts > 0 or row.problem == NOT_THERE
        if row.state not in OPEN or was_denied:
            continue
        if row.state is State.PENDING and row.content_uri is not None:
            due_at = now if archives else None
            rows.append(replace(row, state=State.READY, due_at=due_at, problem=None, updated_at=now))
        else:
            rows.append(replace(row, due_at=None if row.due_at is None else min(row.due_at, now)))
    _set_readiness(call, known, rows, now)
    return rows


def _read(records: Iterable[CallRecord], announced: Collection[str]) -> dict[str, _Named]:
    """Collect the recordings that events announced and those of records and legs, each once by its id."""
    named: dict[str, _Named] = {}
    too_short = 0
    for record in records:
        parts = (record, *(record.legs or ()))
        too_short += any(part.short_recording is True for part in parts)
        for recording in (part.recording for part in parts if part.recording is not None):
            before = named.get(recording.id, _Named(State.PENDING))
            named[recording.id] = _Named(
                State.PENDING, before.type or recording.type, before.address or recording.content_uri
            )
    unnamed = sum(one not in named for one in announced)
    # A record with a recording that was too short does not say which one: where more recordings are missing
    # than that, another part of the call may still get its recording.
    state = State.NONE if too_short and unnamed <= too_short else State.ANNOUNCED
    return {**{one: _Named(state) for one in announced}, **named}


def _open(
    call: Call, recording_id: str, named: _Named, now: datetime, first_look_at: datetime
) -> RecordingRow:
    return RecordingRow(
        account_id=call.account_id,
        recording_id=recording_id,
        call_id=call.call_id,
        state=named.state,
        type=named.type,
        content_uri=named.address,
        due_at=first_look_at if named.state in OPEN else None,
        created_at=now,
        updated_at=now,
    )


def _is_news(row: RecordingRow, named: _Named) -> bool:
    return (
        named.type not in (None, row.type)
        or named.address not in (None, row.content_uri)
        or _reopens(row.state, named.state)
    )


def _update(row: RecordingRow, named: _Named, now: datetime, first_look_at: datetime) -> RecordingRow:
    address = named.address or row.content_uri
    updated = replace(row, type=named.type or row.type, content_uri=address, updated_at=now)
    if _reopens(row.state, named.state):
        due_at = (row.due_at or first_look_at) if named.state in OPEN else None
        return replace(updated, state=named.state, attempts=0, problem=None, due_at=due_at)
    if row.state is State.PENDING and row.content_uri is None and address is not None:
        # Earlier requests were made without the address, so their failures do not count.
        return replace(updated, attempts=0, problem=None)
    return updated


def _reopens(stored: State, named: State) -> bool:
    """Whether the stored state changes: announced -> pending or none, none -> pending."""
    if stored is State.ANNOUNCED:
        return named in {State.PENDING, State.NONE}
    return stored is State.NONE and named is State.PENDING


def _set_readiness(
    call: Call, known: Mapping[str, RecordingRow], rows: Iterable[RecordingRow], now: datetime
) -> None:
    states = {
        **{key: row.state for key, row in known.items()},
        **{row.recording_id: row.state for row in rows},
    }
    call.ready(PART, readiness_of(states.values()), now)
