"""The statement of a call's events. Pure."""

from app.calls.evidence.call_view import CallView
from app.calls.evidence.facts import Code, Endpoint
from app.calls.evidence.party_view import PartyView, same
from app.calls.evidence.roles import Roles
from app.calls.evidence.statements import Line, Role, Statement, Witness
from app.calls.model import Outcome

_REASONS: dict[str, Outcome] = {
    "noanswer": Outcome.NO_ANSWER,
    "timeout": Outcome.NO_ANSWER,
    "targetbusy": Outcome.BUSY,
    "rejected": Outcome.REJECTED,
    # What records call International Disabled, Blocked and No Calling Credit.
    "internationaldisabled": Outcome.BLOCKED,
    "destinationblocked": Outcome.BLOCKED,
    "notenoughfunds": Outcome.BLOCKED,
    "internalerror": Outcome.FAILED,
    "invalidnumber": Outcome.FAILED,
    "nosuchuser": Outcome.FAILED,
}
"""Reasons with which a party leaves unanswered (API description, `CallStatusInfo.reason`)."""

_ORDER = (Outcome.NO_ANSWER, Outcome.BUSY, Outcome.REJECTED, Outcome.BLOCKED, Outcome.FAILED)
"""If several parties left unanswered, the first of these that one of them gives counts."""


def state_events(view: CallView) -> Statement | None:
    """Return what a call's events say of it; None without events."""
    if not view.parties:
        return None
    roles = view.roles
    caller, callee = roles.sides()
    return Statement(
        witness=Witness.PRESENCE if view.is_presence_only else Witness.SESSION_EVENTS,
        key="events",
        told_at=max(party.last_at for party in view.parties),
        is_over=not view.alive,
        direction=roles.direction,
        origin=view.origin,
        caller=caller,
        callee=callee,
        lines=tuple(_line(party, roles) for party in view.parties),
        held=tuple(span for party in view.parties for span in party.spans(Code.HOLD)),
        unanswered=_unanswered(roles),
        started_at=view.started_at,
        saw_start=view.saw_start if view.is_presence_only else view.has_first_event,
        is_partial=bool(view.alive) or not view.is_whole,
        saw_callee=roles.caller is not None or roles.has_first_called(),
        queue_name=view.queue_name,
        names_queue=bool(roles.queues) or any(party.queue_call for party in roles.called),
        caller_name=view.caller_name,
        park_id=view.park_id,
        transferred_to=_transferred_to(roles),
        on_behalf_of=view.on_behalf_of,
    )


def _line(party: PartyView, roles: Roles) -> Line:
    role = _role(party, roles)
    is_caller = party is roles.caller
    # The caller's own Answered may mean a menu, a queue or a voicemail box.
    answered = not is_caller and _answered(party, role, roles)
    alone = is_caller and not roles.called and party.answered_at is not None
    # Of a RingOut in two sessions, the first has the initiator alone.
    if alone and (roles.is_ring_out or (roles.direction == "Outbound" and not roles.is_listed_internal())):
        answered = True
    return Line(
        role=role,
        side=_side(party, is_caller=is_caller and not (roles.is_ring_out and not party.outbound)),
        answered=True if answered else (False if party.reached_voicemail else None),
        answered_at=party.answered_at if answered else None,
        began_at=party.first_at,
        rang=tuple(party.ringing()),
        talked=tuple(party.spans(Code.ANSWERED)) if answered else (),
        has_rung=bool(party.ringing() or party.first(Code.PROCEEDING) or party.answered_at)
        or party.missed_call,
        handed_on=party.id in roles.handed_on_by,
    )


def _role(party: PartyView, roles: Roles) -> Role:
    if party is roles.caller:
        return Role.CALLER
    if roles.is_machine(party):
        return Role.MACHINE
    for role, members in (
        (Role.JOINED, roles.joined),
        (Role.SUPERVISOR, roles.supervisors),
        (Role.HANDED_TO, roles.handed_to),
        (Role.SIDE_ATTEMPT, roles.side_attempts),
    ):
        if party.id in members:
            return role
    # A party without an extension in a call from outside is an announcement.
    is_ours = party.extension_id is not None or roles.direction == "Outbound"
    return Role.CALLED if is_ours else Role.MACHINE


def _answered(party: PartyView, role: Role, roles: Roles) -> bool:
    return party.answered_at is not None and role not in (Role.MACHINE, Role.JOINED, Role.SUPERVISOR)


def _side(party: PartyView, *, is_caller: bool) -> Endpoint:
    """Return who is on a party's line, with the name that its own side has."""
    # In a conference, everybody is shown as calling the room.
    in_room = party.conference_role is not None or (party.to.phone_number or "").lower() == "conference"
    side = party.from_ if is_caller or (in_room and not party.extension_id) else party.to
    if party.extension_id and side.extension_id not in (None, party.extension_id):
        return Endpoint(extension_id=party.extension_id)
    return Endpoint(side.phone_number, side.name, party.extension_id or side.extension_id)


def _unanswered(roles: Roles) -> Outcome:
    """Return what became of the call if nobody answered.

    A lone goodbye, whose beginning was not seen, gives no reason.
    """
    if any(same(moment.code, "FaxReceive") for party in roles.parties for moment in party.history):
        return Outcome.FAX
    attempts = [
        party
        for party in roles.called
        if party.id not in roles.side_attempts and party.id not in roles.joined
    ]
    if any(party.reached_voicemail for party in attempts):
        return Outcome.VOICEMAIL
    if roles.direction == "Inbound" and (roles.queues or any(party.queue_call for party in attempts)):
        return Outcome.ABANDONED
    given = {
        _REASONS.get((party.end_reason or "").lower()) for party in (*attempts, *_callers(roles)) if party
    }
    if any(party.missed_call for party in attempts):
        given.add(Outcome.NO_ANSWER)
    for outcome in _ORDER:
        if outcome in given:
            return outcome
    return _without_reason(roles, attempts)


def _callers(roles: Roles) -> tuple[PartyView, ...]:
    """Return the caller if its own reason counts: in a call from inside that failed."""
    return (roles.caller,) if roles.caller and roles.direction == "Outbound" else ()


def _without_reason(roles: Roles, attempts: list[PartyView]) -> Outcome:
    people = [party for party in attempts if party.extension_id and party.id not in roles.menus]
    if roles.direction == "Inbound" and not any(party.ringing() for party in people):
        machines = [party for party in attempts if party not in people]
        if machines and any(party.first(Code.SETUP, Code.ANSWERED) for party in machines):
            return Outcome.ABANDONED
    began = any(party.first(Code.SETUP, Code.PROCEEDING) for party in roles.parties)
    picked_up = any(party.answered_at for party in roles.called or roles.parties)
    return Outcome.NO_ANSWER if began and not picked_up else Outcome.UNKNOWN


def _transferred_to(roles: Roles) -> str | None:
    """Return the number outside the company to which the call was transferred, raw."""
    for party in roles.called:
        if party.id in roles.handed_to and not party.extension_id and party.to.phone_number:
            return party.to.phone_number
    return None
