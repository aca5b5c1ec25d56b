"""Which recordings a call has by its records and events, and what that changes of the rows kept of them. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.calls.model import Call
from app.calls.recordings import NOT_THERE, OPEN, PART, State, readiness_of
from app.ringcentral.models import CallRecord

_KEPT = (
    "account_id",
    "recording_id",
    "call_id",
    "state",
    "type",
    "content_uri",
    "attempts",
    "due_at",
    "problem",
    "created_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class NamedRecordings:
    """What records say: recordings by id, with type and RingCentral's address; how many records say that theirs was
    too short."""

    named: Mapping[str, tuple[str | None, str | None]]
    too_short: int


def read_named_recordings(records: Iterable[CallRecord]) -> NamedRecordings:
    """Collect recordings of records and legs, each once: they repeat each other with the same id."""
    named: dict[str, tuple[str | None, str | None]] = {}
    too_short = 0
    for record in records:
        parts = (record, *(record.legs or ()))
        too_short += any(part.short_recording is True for part in parts)
        for part in parts:
            if part.recording is not None:
                kind, address = named.get(part.recording.id, (None, None))
                named[part.recording.id] = (
                    kind or part.recording.type,
                    address or part.recording.content_uri,
                )
    return NamedRecordings(named, too_short)


def take_named_recordings(
    call: Call,
    records: Iterable[CallRecord],
    known: Mapping[str, Any],
    now: datetime,
    first_after: timedelta,
) -> list[dict[str, Any]]:
    """Return the rows to write, and say of the call how far its recordings are.

    `known` has the kept rows by recording id. What is settled stays so when records repeat it; a recording
    that seemed to be none, and is named after all, is looked for, and what came of earlier looks counts no more.
    """
    mentions = read_named_recordings(records)
    announced = [str(one) for one in call.details.get("recordingIds") or ()]
    wanted = {
        **{one: (_announced(mentions, announced), None, None) for one in announced},
        **{one: (State.PENDING, *told) for one, told in mentions.named.items()},
    }
    first_look = max(now, (call.ended_at or now) + first_after)
    rows = []
    for recording_id, (state, kind, address) in wanted.items():
        row = known.get(recording_id)
        if row is not None and not _is_news(row, state, kind, address):
            continue
        anew = row is None or _reopens(row.state, state) or _is_addressed(row, address)
        standing = None if anew else row
        rows.append(
            {
                "account_id": call.account_id,
                "recording_id": recording_id,
                "call_id": call.call_id,
                "state": standing.state if standing else state.value,
                "type": kind or (row.type if row else None),
                "content_uri": address or (row.content_uri if row else None),
                "attempts": standing.attempts if standing else 0,
                "due_at": _due_at(row, state, first_look),
                "problem": standing.problem if standing else None,
                "created_at": row.created_at if row else now,
                "updated_at": now,
            }
        )
    _tell_call(call, known, rows, now)
    return rows


def take_settled(
    call: Call, known: Mapping[str, Any], now: datetime, *, archives: bool
) -> list[dict[str, Any]]:
    """Return the rows to write once a call's Detailed records do not change any more, and say so of the call.

    A recording whose address such a record gives can be heard: "the call-log record often appears without a
    recording first and gets it later" (reports from the field), so the address itself is the news. That saves the
    request that would ask for it. One that no record names after all is looked for at once. Where RingCentral has
    been asked since its record gave the address, and had nothing, the record alone is believed no more.
    """
    untried = [row for row in known.values() if State(row.state) in OPEN and not _was_denied(row)]
    rows = [_settled(row, now, archives=archives) for row in untried]
    _tell_call(call, known, rows, now)
    return rows


def _settled(row: Any, now: datetime, *, archives: bool) -> dict[str, Any]:
    kept = {name: getattr(row, name) for name in _KEPT}
    if row.state == State.PENDING and row.content_uri is not None:
        due_at = now if archives else None
        return kept | {"state": State.READY.value, "due_at": due_at, "problem": None, "updated_at": now}
    return kept | {"due_at": None if row.due_at is None else min(row.due_at, now)}


def _was_denied(row: Any) -> bool:
    """Whether RingCentral was asked for a recording, by its metadata or its sound, and did not have it."""
    return bool(row.attempts) or row.problem == NOT_THERE


def _tell_call(
    call: Call, known: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], now: datetime
) -> None:
    states: dict[str, str] = {one: row.state for one, row in known.items()}
    states |= {str(row["recording_id"]): str(row["state"]) for row in rows}
    call.ready(PART, readiness_of(states.values()), now)


def _announced(mentions: NamedRecordings, announced: Collection[str]) -> State:
    """Say what an announced recording is that no record names. A record that tells of one too short does not say
    which: of a call that was handed on, another part may have its recording yet to come."""
    unnamed = sum(one not in mentions.named for one in announced)
    return State.NONE if mentions.too_short and unnamed <= mentions.too_short else State.ANNOUNCED


def _is_news(row: Any, state: State, kind: str | None, address: str | None) -> bool:
    said_more = (kind is not None and kind != row.type) or (
        address is not None and address != row.content_uri
    )
    return said_more or _reopens(row.state, state)


def _reopens(kept: str, told: State) -> bool:
    """Whether what is told now changes the kept state: announced -> pending or none, none -> pending."""
    if kept == State.ANNOUNCED:
        return told in {State.PENDING, State.NONE}
    return kept == State.NONE and told is State.PENDING


def _is_addressed(row: Any, address: str | None) -> bool:
    """Whether a record gives the address of a recording that was looked for without one."""
    return row.state == State.PENDING and row.content_uri is None and address is not None


def _due_at(row: Any, state: State, first_look: datetime) -> datetime | None:
    if row is not None and not _reopens(row.state, state):
        due_at: datetime | None = row.due_at
        return due_at
    if state not in OPEN:
        return None
    return row.due_at if row is not None and row.due_at is not None else first_look
