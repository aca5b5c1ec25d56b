"""The call-log records of scripted calls, in the stages in which the platform rewrites them. No I/O.

While a call goes on, its records are provisional: direction, parties and legs can all change at hang-up. All
times are script seconds.
"""

from dataclasses import dataclass

from app.simulator.scripting.casting import Casting, internal_side, record_side, unresolved_caller
from app.simulator.scripting.company import Extension
from app.simulator.scripting.model import IN_PROGRESS, CallSummary, Json, Leg, RecordingResult
from app.simulator.scripting.timeline import NO_EXTRAS, RecordExtras, SessionTimeline

INBOUND = "Inbound"
OUTBOUND = "Outbound"
PHONE_CALL = "Phone Call"
VOIP_CALL = "VoIP Call"
QUEUE_GREETING_SECONDS = 3.4
"""How long a caller hears the queue's greeting before its members ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundCall:
    """A call from outside that an extension, the casting's agent by default, or its voicemail box answered.

    `dialled` is the number that the customer dialled, the extension's own by default. `counted_from` is the
    second from which the record's duration counts, the start by default.
    """

    answered: float
    ended: float
    starts: float = 0.0
    counted_from: float | None = None
    extension: Extension | None = None
    dialled: str | None = None
    result: str = "Accepted"
    action: str = PHONE_CALL


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedCall:
    """A call from outside that rang at an extension without an answer."""

    extension: Extension
    rings: float
    ended: float
    dialled: str | None = None
    result: str = "Missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCall:
    """A call that an extension, the casting's agent by default, made: to the customer, or inside the company.

    `receiver` is the record's side of the other party if that is not the customer, `sender` that of the
    caller if it is not the extension. Calls to a `receiver` stay in the company's own network unless
    `transport` says PSTN.
    """

    ended: float
    starts: float = 0.0
    extension: Extension | None = None
    sender: Json | None = None
    receiver: Json | None = None
    transport: str | None = None
    result: str = "Call connected"
    action: str = VOIP_CALL
    leg_type: str = "SipToPstnUnmetered"


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalCall:
    """A call between two extensions. The results are those of the caller's and of the called side's record.

    `sides` are the record's sides if they are not those of two phones of the company; `is_answered` False:
    the records have no duration.
    """

    caller: Extension
    called: Extension
    starts: float
    ended: float
    results: tuple[str, str] = ("Call connected", "Accepted")
    sides: tuple[Json, Json] | None = None
    is_answered: bool = True


def log_inbound(
    casting: Casting, session: SessionTimeline, call: InboundCall, extras: RecordExtras = NO_EXTRAS
) -> None:
    """Plan the record of an answered call from outside."""
    timeline, extension = casting.timeline, call.extension or casting.agent
    sides = (unresolved_caller(casting.customer), record_side(extension, call.dialled))
    counted_from = call.starts if call.counted_from is None else call.counted_from
    lasts, talks = timeline.duration(counted_from, call.ended), timeline.duration(call.answered, call.ended)

    def master(current: str, duration: int | None) -> Leg:
        summary = CallSummary(INBOUND, call.action, current, *sides, duration)
        return Leg(timeline.moment(call.starts), summary, extension.id, "Accept", "PSTN", master=True)

    def to_phone(current: str, duration: int | None) -> Leg:
        phone = (internal_side(extension), record_side(extension))
        summary = CallSummary(OUTBOUND, VOIP_CALL, current, *phone, duration, "Accepted")
        return Leg(timeline.moment(call.answered), summary, extension.id, "PstnToSip", "VoIP")

    # Between ringing and talking only the legs change: the leg to the agent's phone is added.
    ringing = CallSummary(INBOUND, call.action, IN_PROGRESS, *sides)
    final = CallSummary(INBOUND, call.action, call.result, *sides, lasts)
    timeline.add_record(
        session,
        extension,
        [
            (call.starts, ringing, [master(IN_PROGRESS, None)]),
            (call.answered, ringing, [master(IN_PROGRESS, None), to_phone(IN_PROGRESS, None)]),
            (call.ended, final, [master(call.result, lasts), to_phone(call.result, talks)]),
        ],
        extras,
    )


def log_missed(casting: Casting, session: SessionTimeline, call: MissedCall) -> None:
    """Plan the record of a missed call, whose duration is 0."""
    sides = (unresolved_caller(casting.customer), record_side(call.extension, call.dialled))

    def stage(at: float, current: str, duration: int | None) -> tuple[float, CallSummary, list[Leg]]:
        summary = CallSummary(INBOUND, PHONE_CALL, current, *sides, duration)
        begin = casting.timeline.moment(call.rings)
        return at, summary, [Leg(begin, summary, call.extension.id, "Accept", "PSTN", master=True)]

    stages = [stage(call.rings, IN_PROGRESS, None), stage(call.ended, call.result, 0)]
    casting.timeline.add_record(session, call.extension, stages)


def log_outbound(
    casting: Casting, session: SessionTimeline, call: OutboundCall, extras: RecordExtras = NO_EXTRAS
) -> None:
    """Plan the record of a call that an extension made."""
    timeline, extension = casting.timeline, call.extension or casting.agent
    sides = (call.sender or record_side(extension), call.receiver or unresolved_caller(casting.customer))
    transport = call.transport or ("VoIP" if call.receiver is not None else "PSTN")

    def stage(at: float, current: str, duration: int | None) -> tuple[float, CallSummary, list[Leg]]:
        summary = CallSummary(OUTBOUND, call.action, current, *sides, duration)
        begin = timeline.moment(call.starts)
        return at, summary, [Leg(begin, summary, extension.id, call.leg_type, transport, master=True)]

    lasts = timeline.duration(call.starts, call.ended)
    stages = [stage(call.starts, IN_PROGRESS, None), stage(call.ended, call.result, lasts)]
    timeline.add_record(session, extension, stages, extras)


def log_internal(
    casting: Casting,
    session: SessionTimeline,
    call: InternalCall,
    callers: RecordExtras = NO_EXTRAS,
    called: RecordExtras = NO_EXTRAS,
) -> None:
    """Plan the two records of a call between extensions, one for each side with its extras."""
    sides = call.sides or (internal_side(call.caller), internal_side(call.called))
    lasts = casting.timeline.duration(call.starts, call.ended) if call.is_answered else 0

    def stages(
        owner: Extension, direction: str, final: str, leg_type: str
    ) -> list[tuple[float, CallSummary, list[Leg]]]:
        out: list[tuple[float, CallSummary, list[Leg]]] = []
        for at, result, duration in ((call.starts, IN_PROGRESS, None), (call.ended, final, lasts)):
            summary = CallSummary(direction, VOIP_CALL, result, *sides, duration)
            leg = Leg(casting.timeline.moment(call.starts), summary, owner.id, leg_type, "VoIP", master=True)
            out.append((at, summary, [leg]))
        return out

    outgoing = stages(call.caller, OUTBOUND, call.results[0], "ExtensionToExtension")
    casting.timeline.add_record(session, call.caller, outgoing, callers)
    incoming = stages(call.called, INBOUND, call.results[1], "Accept")
    casting.timeline.add_record(session, call.called, incoming, called)


def log_queue_winner(
    casting: Casting, session: SessionTimeline, answered: float, ended: float, recordings: RecordingResult
) -> None:
    """Plan the record of the queue member who answered.

    During the call the record looks like a call of the agent to themselves; at hang-up its direction turns.
    """
    agent, queue, customer = casting.agent, casting.company.queue, casting.customer
    timeline, rings = casting.timeline, QUEUE_GREETING_SECONDS
    lasts, talks = timeline.duration(0.0, ended), timeline.duration(answered, ended)
    to_self = (internal_side(agent), internal_side(agent))
    ringing = CallSummary(OUTBOUND, VOIP_CALL, IN_PROGRESS, *to_self)
    talking = CallSummary(OUTBOUND, VOIP_CALL, IN_PROGRESS, *to_self, None, "Accepted")
    name = f"{queue.name} - {customer.caller_id}"
    caller = {"phoneNumber": customer.number, "name": name, "location": customer.location}
    over = CallSummary(INBOUND, PHONE_CALL, "Accepted", caller, record_side(queue), lasts)
    phone = (internal_side(agent), record_side(agent))
    to_phone = CallSummary(OUTBOUND, VOIP_CALL, "Accepted", *phone, talks, "Accepted")

    def leg_to_phone(second: float, summary: CallSummary, *, master: bool = True) -> Leg:
        return Leg(timeline.moment(second), summary, agent.id, "PstnToSip", "VoIP", master)

    accepted = Leg(timeline.moment(0.0), over, agent.id, "Accept", "PSTN", master=True)
    timeline.add_record(
        session,
        agent,
        [
            (rings, ringing, [leg_to_phone(rings, ringing)]),
            (answered, talking, [leg_to_phone(rings, talking)]),
            (ended, over, [accepted, leg_to_phone(answered, to_phone, master=False)]),
        ],
        RecordExtras(recordings=recordings),
    )
