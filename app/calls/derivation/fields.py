"""The fields of a stored call, from its events and its records. Pure."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from app.calls.derivation.derive import DerivedCall, derive_call
from app.calls.evidence.call_view import CallView
from app.calls.evidence.events import state_events
from app.calls.evidence.people import Company
from app.calls.evidence.records import extension_of, primary_of, state_records
from app.calls.evidence.statements import Statement
from app.calls.evidence.versions import RecordVersion
from app.calls.model import RECORDS_END, Call, Outcome, Stage

LATEST_START = timedelta(hours=1)
"""How far after a call became known its start may lie: clocks differ, but not by more."""


def derive_fields(
    call: Call, view: CallView, versions: Collection[RecordVersion], company: Company
) -> DerivedCall:
    """Set the fields of a call from all that is known of it, and return its derivation.

    `versions` has the current version of each record; records of a live call are not among them.
    """
    derived = derive_call(state_all(view, versions), company)
    primary = primary_of(versions)
    call.session_id = view.session_id or call.session_id
    call.parties = [party.to_json() for party in view.parties]
    call.direction = derived.direction
    call.internal = derived.internal
    call.caller = dict(derived.from_json) if derived.from_json else None
    call.callee = dict(derived.to_json) if derived.to_json else None
    call.external_number = derived.external_number
    call.queue_name = derived.queue_name
    call.answered_at = derived.answered_at
    is_over = call.stage != Stage.LIVE
    call.outcome = (derived.outcome_if_over if is_over else derived.outcome).value
    # A start far in the future comes from a wrong clock.
    if derived.started_at is not None and derived.started_at <= call.created_at + LATEST_START:
        call.started_at = derived.started_at
    agent = derived.agent
    call.agent_extension_id = agent.extension_id if agent else None
    if primary is not None:
        call.primary_record_id = primary.id
        call.action = primary.action
        call.result = primary.result
        seconds = primary.duration_seconds
        call.duration_seconds = None if seconds is None else round(seconds)
    records = [version.record for version in versions]
    recorded = any(record.recordings for record in records)
    call.has_recording = recorded if primary is not None else bool(view.recordings)
    call.details = _details(call, derived, view)
    return derived


def outcome_of_events(view: CallView, company: Company) -> Outcome:
    """Return the outcome of a call that is over, by its events alone."""
    return derive_call(state_all(view, ()), company).outcome_if_over


def extension_ids(view: CallView, versions: Iterable[RecordVersion]) -> tuple[str, ...]:
    """Return the extensions that took part, each once."""
    return tuple(dict.fromkeys(one for one in (*view.extension_ids, *_of_records(versions)) if one))


def phone_numbers(derived: DerivedCall, view: CallView, versions: Iterable[RecordVersion]) -> tuple[str, ...]:
    """Return the numbers that took part, as they were shown, each once."""
    found = [derived.external_number, derived.transferred_to]
    found += [side.phone_number for side in (derived.from_, derived.to)]
    for version in versions:
        record = version.record
        found += [record.from_party.phone_number, record.to_party.phone_number]
    return tuple(dict.fromkeys(number for number in found if number))


def _of_records(versions: Iterable[RecordVersion]) -> Iterator[str | None]:
    for version in versions:
        record = version.record
        yield extension_of(record)
        yield record.from_party.extension_id
        yield record.to_party.extension_id
        for leg in record.legs or ():
            yield leg.extension_id


def state_all(view: CallView, versions: Collection[RecordVersion]) -> list[Statement]:
    """Return the statements of all witnesses of a call, in the order that `derive_call` wants."""
    of_events = state_events(view)
    return [*([of_events] if of_events else []), *state_records(versions)]


def _details(call: Call, derived: DerivedCall, view: CallView) -> dict[str, object]:
    kept = {name: value for name, value in call.details.items() if name == RECORDS_END}
    return {
        "ringSeconds": derived.ring_seconds,
        "talkSeconds": derived.talk_seconds,
        "holdSeconds": derived.hold_seconds,
        "origin": derived.origin,
        "parkId": derived.park_id,
        "transferredTo": derived.transferred_to,
        "onBehalfOf": derived.on_behalf_of,
        "agents": [agent.to_json() for agent in derived.agents],
        "recordingIds": list(view.recording_ids),
        "activeRecordingIds": [recording.id for recording in view.recordings if recording.active],
        **kept,
    }
