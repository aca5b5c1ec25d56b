"""The statements of call records: one for each record of a call. Pure.

Facts used: an inbound record belongs to the extension that was called, an outbound one to the caller; records
with the actions FindMe, FollowMe, Sip Forwarding, Hunting and Transfer are attempts within a call; the leg to
a phone begins when it is answered; an agent's record of a queue call shows the queue's name before the
caller's (guide "Call log", published records, API description).
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from app.calls.evidence.facts import Endpoint
from app.calls.evidence.outcomes import is_connected, read_outcome
from app.calls.evidence.party_view import Span
from app.calls.evidence.statements import Line, Role, Statement, Witness
from app.calls.evidence.versions import RecordVersion
from app.calls.model import Outcome, Source
from app.ringcentral.models import CallRecord, Party
from app.ringcentral.models.records import Leg
from app.values import widths
from app.values.phone_numbers import NumberKind, read_phone_number

_EARLIEST = datetime.min.replace(tzinfo=UTC)

_SIDE_ATTEMPTS = frozenset({"findme", "followme", "sip forwarding", "sipforwarding", "hunting"})
_TRANSFERS = frozenset({"transfer", "transfercall"})
_WITHIN: dict[str, Role] = {
    **dict.fromkeys(_SIDE_ATTEMPTS, Role.SIDE_ATTEMPT),
    **dict.fromkeys(_TRANSFERS, Role.HANDED_TO),
    **dict.fromkeys(("park location", "parklocation", "call park", "callpark"), Role.MACHINE),
    **dict.fromkeys(("monitoring", "silentmonitoring", "barge in call"), Role.SUPERVISOR),
    **dict.fromkeys(("pickup", "move"), Role.CALLED),
}
"""What an outbound record with such an action or leg type is within a call that somebody else began."""

_ORIGINS = {
    "ringout": "RingOut",
    "ringme": "RingMe",
    "callout-callme": "CallOut",
    "conference call": "Conference",
}
_DIRECTIONS = {"inbound": "Inbound", "outbound": "Outbound"}
QUEUE_SEPARATORS = (" - ", " – ")
"""Between a queue's name and the caller's, where a record shows both as one."""


def primary_of(versions: Collection[RecordVersion]) -> CallRecord | None:
    """Choose the primary record: one of the call before those of attempts within it, one from after the end
    before those from before, connected before others, then with a recording, then the longest, then any other
    before a missed one, then the earliest, then the caller's. The smallest id breaks ties, so that the choice
    does not depend on order. In Progress and deleted ones are not candidates.

    A queue call that the caller abandons is Abandoned in the record of the queue and Missed in those of its
    members, all with no duration and often in the same second: Missed is about a phone, Abandoned about the
    call.
    """
    ordered = _in_order(versions)
    return ordered[0].record if ordered else None


def state_records(versions: Collection[RecordVersion]) -> list[Statement]:
    """Return a statement for each finished record, that of the primary record first."""
    ordered = _in_order(versions)
    attempts = _attempts([version.record for version in ordered])
    return [_statement(version, attempts.get(version.record.id)) for version in ordered]


def extension_of(record: CallRecord) -> str | None:
    """Return whose record it is. At company level only the legs may say so (App Connect)."""
    if record.extension_id:
        return record.extension_id
    legs = record.legs or ()
    masters = [leg.extension_id for leg in legs if leg.is_master and leg.extension_id]
    others = [leg.extension_id for leg in legs if leg.extension_id]
    # The leg to a phone is from its extension.
    phones = [
        leg.from_party.extension_id
        for leg in legs
        if not leg.is_master and _word(leg.direction) == "outbound"
    ]
    return next((one for one in (*masters, *others, *phones) if one), None)


def _in_order(versions: Collection[RecordVersion]) -> list[RecordVersion]:
    finished = [
        version for version in versions if not version.record.is_in_progress and not version.record.is_deleted
    ]
    attempts = _attempts([version.record for version in finished])

    def place(version: RecordVersion) -> tuple[object, ...]:
        record = version.record
        return (
            record.id in attempts,
            version.is_provisional,
            not is_connected(record.result),
            not record.recordings,
            -(record.duration_seconds or 0.0),
            read_outcome(record.result) is Outcome.MISSED,
            record.start_time or _EARLIEST,
            not _is_outbound(record),
            record.id,
        )

    return sorted(finished, key=place)


def _attempts(records: Sequence[CallRecord]) -> dict[str, Role]:
    """Return the records of attempts within the call, by id: what the line of each is.

    If a call has no other records, the attempts are all that is known of it and count as the call.
    """
    found: dict[str, Role] = {}
    for record in records:
        role = _named_attempt(record)
        if role is None and any(_is_forwarded(record, other) for other in records):
            role = Role.SIDE_ATTEMPT
        if role is None and any(_is_later_step(record, other) for other in records):
            role = Role.HANDED_TO
        if role is not None:
            found[record.id] = role
    if len(found) == len(records):
        # The other kinds name somebody of the company as their caller, so they can stand for the call.
        return {key: role for key, role in found.items() if role is Role.SIDE_ATTEMPT}
    return found


def _named_attempt(record: CallRecord) -> Role | None:
    if not _is_outbound(record):
        return None
    words = [_word(record.action), *(_word(leg.leg_type) for leg in record.legs or () if leg.is_master)]
    return next((_WITHIN[word] for word in words if word in _WITHIN), None)


def _is_forwarded(record: CallRecord, inbound: CallRecord) -> bool:
    """Whether an outbound record shows the caller of an inbound one: the call went on to another phone."""
    shown, caller = record.from_party, inbound.from_party
    return (
        _is_outbound(record)
        and not _is_outbound(inbound)
        and shown.phone_number is not None
        and shown.phone_number == caller.phone_number
        and not (
            shown.extension_id or shown.extension_number or caller.extension_id or caller.extension_number
        )
        and record.to_party.phone_number != inbound.to_party.phone_number
        and extension_of(record) == extension_of(inbound)
    )


def _is_later_step(record: CallRecord, inbound: CallRecord) -> bool:
    """Whether an outbound record began after an inbound one of another caller: the call went on to it."""
    return (
        _is_outbound(record)
        and _DIRECTIONS.get(_word(inbound.direction)) == "Inbound"
        and _named_attempt(inbound) is None
        and record.start_time is not None
        and inbound.start_time is not None
        and record.start_time > inbound.start_time
        and not _is_same(record.from_party, inbound.from_party)
    )


def _is_same(one: Party, other: Party) -> bool:
    return any(
        name is not None and name == same
        for name, same in (
            (one.extension_id, other.extension_id),
            (one.extension_number, other.extension_number),
            (one.phone_number, other.phone_number),
        )
    )


def _statement(version: RecordVersion, attempt: Role | None) -> Statement:
    record = version.record
    extension_id = extension_of(record)
    caller, callee = _side(record.from_party), _side(record.to_party)
    queue_name, caller_name = _queue_label(record)
    outbound = _is_outbound(record)
    if outbound and attempt is not Role.SIDE_ATTEMPT:
        caller = caller.or_else(Endpoint(extension_id=extension_id))
    elif not outbound and (callee.extension_number or _is_short(callee.phone_number)):
        callee = callee.or_else(Endpoint(extension_id=extension_id))
    is_voicemail = record.message is not None and _word(record.message.type) == "voicemail"
    outcome = Outcome.FAX if _is_fax(record) else read_outcome(record.result)
    return Statement(
        witness=Witness.CALL_LOG if version.source is not Source.ACTIVE_CALLS else Witness.ACTIVE_CALLS,
        key=record.id,
        told_by=extension_id,
        told_at=version.fetched_at,
        is_provisional=version.is_provisional,
        is_side_attempt=attempt is Role.SIDE_ATTEMPT,
        is_step=attempt not in (None, Role.SIDE_ATTEMPT),
        direction=_DIRECTIONS.get(_word(record.direction)),
        origin=_origin(record),
        caller=caller,
        callee=callee,
        lines=tuple(_lines(record, extension_id, caller, callee, attempt)),
        unanswered=_unanswered(record, outcome, is_voicemail=is_voicemail) if attempt is None else None,
        started_at=record.start_time,
        queue_name=queue_name,
        machine_name=record.to_party.name if outcome is Outcome.ABANDONED else None,
        names_queue=queue_name is not None,
        caller_name=caller_name,
        park_id=record.to_party.phone_number if attempt is Role.MACHINE else None,
        transferred_to=_transferred_to(record, attempt),
        on_behalf_of=record.delegate_name,
    )


def _unanswered(record: CallRecord, outcome: Outcome, *, is_voicemail: bool) -> Outcome | None:
    if outcome is Outcome.FAX:
        return outcome
    if is_connected(record.result):
        return None
    if is_voicemail and outcome in (Outcome.MISSED, Outcome.NO_ANSWER, Outcome.UNKNOWN):
        return Outcome.VOICEMAIL
    return Outcome.NO_ANSWER if outcome is Outcome.MISSED else outcome


def _lines(
    record: CallRecord, extension_id: str | None, caller: Endpoint, callee: Endpoint, attempt: Role | None
) -> Iterator[Line]:
    connected = _has_talk(record)
    began_at = record.start_time
    if attempt is Role.SIDE_ATTEMPT:
        # Its duration includes the ringing, so it does not tell how long they talked.
        yield Line(
            role=Role.SIDE_ATTEMPT,
            side=callee,
            owner=extension_id,
            answered=connected or None,
            began_at=began_at,
        )
        return
    if attempt is Role.HANDED_TO:
        sender = Endpoint(extension_id=extension_id or caller.extension_id)
        yield Line(role=Role.CALLED, side=sender, handed_on=True)
        yield Line(role=Role.HANDED_TO, side=callee, answered=connected or None, began_at=began_at)
        return
    if attempt is not None:
        if attempt is not Role.MACHINE:
            yield Line(role=attempt, side=caller, answered=connected or None, began_at=began_at)
        return
    yield Line(role=Role.CALLER, side=caller, is_own=_is_outbound(record), began_at=began_at)
    if _is_outbound(record):
        yield Line(role=Role.CALLED, side=callee, answered=connected, began_at=began_at)
    else:
        yield _called_line(record, extension_id, callee)
    yield from _other_legs(record, extension_id)


def _called_line(record: CallRecord, extension_id: str | None, callee: Endpoint) -> Line:
    """Return the line of the extension whose inbound record this is."""
    is_queue = read_outcome(record.result) is Outcome.ABANDONED
    connected = _has_talk(record)
    talked = tuple(_talks(record, extension_id)) if connected else ()
    name = _own_name(record, extension_id)
    return Line(
        role=Role.MACHINE if is_queue else Role.CALLED,
        side=Endpoint(None, name, extension_id) if extension_id else callee,
        is_own=True,
        answered=connected,
        answered_at=min((start for start, _ in talked), default=None),
        began_at=record.start_time,
        talked=talked,
        has_rung=not is_queue,
    )


def _other_legs(record: CallRecord, extension_id: str | None) -> Iterator[Line]:
    """Yield the legs that are lines of their own: attempts, transfers, other extensions that were rung."""
    for leg in record.legs or ():
        if leg.is_master or (leg.start_time == record.start_time and leg.result == record.result):
            continue
        words = {_word(leg.action), _word(leg.leg_type)}
        connected = is_connected(leg.result)
        role = (
            Role.SIDE_ATTEMPT
            if words & _SIDE_ATTEMPTS
            else Role.HANDED_TO
            if words & _TRANSFERS
            else Role.CALLED
        )
        if role is not Role.CALLED:
            yield Line(
                role=role,
                side=_side(leg.to_party),
                owner=leg.extension_id or extension_id,
                answered=connected or None,
                began_at=leg.start_time,
            )
        elif leg.extension_id and leg.extension_id != extension_id:
            talked = _lasting(leg) if connected else ()
            yield Line(
                role=role,
                side=Endpoint(None, leg.from_party.name, leg.extension_id),
                answered=connected or None,
                answered_at=leg.start_time if connected else None,
                began_at=leg.start_time,
                talked=talked,
                has_rung=True,
            )


def _talks(record: CallRecord, extension_id: str | None) -> Iterator[Span]:
    """Yield when the extension talked: the legs to its phone, which begin when they are answered."""
    legs = record.legs or ()
    for leg in legs[1:] if legs and legs[0].is_master is None else legs:
        words = {_word(leg.action), _word(leg.leg_type)}
        is_phone = not leg.is_master and not words & (_SIDE_ATTEMPTS | _TRANSFERS)
        if is_phone and is_connected(leg.result) and leg.extension_id in (None, extension_id):
            yield from _lasting(leg)


def _lasting(part: CallRecord | Leg) -> tuple[Span, ...]:
    if part.start_time is None or not part.duration_seconds:
        return ()
    return ((part.start_time, part.start_time + timedelta(seconds=part.duration_seconds)),)


def _own_name(record: CallRecord, extension_id: str | None) -> str | None:
    """Return the name of the extension whose inbound record this is, None if it is not sure."""
    for leg in record.legs or ():
        is_to_phone = leg.is_master is False and _word(leg.direction) == "outbound"
        if is_to_phone and leg.from_party.extension_id in (None, extension_id) and leg.from_party.name:
            return leg.from_party.name
    is_own = record.to_party.extension_id == extension_id or _queue_label(record)[0] is None
    is_queue = read_outcome(record.result) is Outcome.ABANDONED
    return record.to_party.name if is_own or is_queue else None


def _queue_label(record: CallRecord) -> tuple[str | None, str | None]:
    """Return the queue's and the caller's name of a record that shows both as one."""
    shown, queue = record.from_party.name or "", record.to_party.name or ""
    for separator in QUEUE_SEPARATORS:
        if queue and shown.startswith(queue + separator):
            return queue[: widths.TEXT], shown[len(queue + separator) :] or None
    return None, None


def _transferred_to(record: CallRecord, attempt: Role | None) -> str | None:
    if attempt is Role.HANDED_TO:
        return _outside_number(record.to_party)
    for leg in record.legs or ():
        if not leg.is_master and {_word(leg.action), _word(leg.leg_type)} & _TRANSFERS:
            return _outside_number(leg.to_party)
    return None


def _outside_number(party: Party) -> str | None:
    return None if party.extension_id or party.extension_number else party.phone_number


def _origin(record: CallRecord) -> str | None:
    action = _word(record.action)
    return next((origin for word, origin in _ORIGINS.items() if action.startswith(word)), None)


def _side(party: Party) -> Endpoint:
    return Endpoint(
        party.phone_number or party.dialed_phone_number,
        party.name,
        party.extension_id,
        party.extension_number,
        party.location,
    )


def _has_talk(record: CallRecord) -> bool:
    """Whether people were connected. Nobody talks in a fax."""
    return is_connected(record.result) and not _is_fax(record)


def _is_fax(record: CallRecord) -> bool:
    return _word(record.type) == "fax"


def _is_short(raw: str | None) -> bool:
    number = read_phone_number(raw)
    return number is not None and number.kind is NumberKind.EXTENSION


def _is_outbound(record: CallRecord) -> bool:
    return _word(record.direction) == "outbound"


def _word(raw: str | None) -> str:
    return (raw or "").strip().casefold()
