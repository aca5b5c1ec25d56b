"""The call-log records of scripted calls, stage by stage as the platform rewrites them. No I/O.

While a call goes on its records are provisional: direction, parties and legs can all change at hang-up.
"""

from app.simulator.scripting.casting import Casting, inside, logged, raw_caller
from app.simulator.scripting.company import Extension
from app.simulator.scripting.model import IN_PROGRESS, SILENCE, Face, Json, Leg, Sound
from app.simulator.scripting.timeline import SessionTimeline

INBOUND = "Inbound"
OUTBOUND = "Outbound"
PHONE_CALL = "Phone Call"
VOIP_CALL = "VoIP Call"
QUEUE_GREETING_SECONDS = 3.4
"""How long a caller hears the queue's greeting before its members ring."""


def leg_of(
    cast: Casting, second: float, face: Face, extension: Extension, leg_type: str, transport: str
) -> Leg:
    return Leg(cast.tape.moment(second), face, extension.id, leg_type, transport)


def log_inbound(
    cast: Casting,
    session: SessionTimeline,
    *,
    answered: float,
    ended: float,
    agent: Extension | None = None,
    dialled: str | None = None,
    starts: float = 0.0,
    result: str = "Accepted",
    sound: Sound = SILENCE,
    message: bool = False,
    target: SessionTimeline | None = None,
) -> None:
    """Plan the record of a call from outside that somebody (or a voicemail box) took."""
    agent = agent or cast.agent
    sides = (raw_caller(cast.customer), logged(agent, dialled))
    lasts, talks = cast.tape.lasting(starts, ended), cast.tape.lasting(answered, ended)

    def master(current: str, duration: int | None) -> Leg:
        face = Face(INBOUND, PHONE_CALL, current, *sides, duration)
        return Leg(cast.tape.moment(starts), face, agent.id, "Accept", "PSTN", master=True)

    def to_phone(current: str, duration: int | None) -> Leg:
        face = Face(OUTBOUND, VOIP_CALL, current, inside(agent), logged(agent), duration, "Accepted")
        return leg_of(cast, answered, face, agent, "PstnToSip", "VoIP")

    ringing = Face(INBOUND, PHONE_CALL, IN_PROGRESS, *sides)
    cast.tape.record(
        session,
        agent,
        [
            (starts, ringing, [master(IN_PROGRESS, None)]),
            (answered, ringing, [master(IN_PROGRESS, None), to_phone(IN_PROGRESS, None)]),
            (
                ended,
                Face(INBOUND, PHONE_CALL, result, *sides, lasts),
                [master(result, lasts), to_phone(result, talks)],
            ),
        ],
        sound=sound,
        message=message,
        target=target,
    )


def log_missed(
    cast: Casting,
    session: SessionTimeline,
    extension: Extension,
    *,
    rings: float,
    ended: float,
    result: str = "Missed",
    dialled: str | None = None,
) -> None:
    """Plan the record of an extension that rang in vain: duration 0."""
    sides = (raw_caller(cast.customer), logged(extension, dialled))

    def stage(at: float, current: str, duration: int | None) -> tuple[float, Face, list[Leg]]:
        face = Face(INBOUND, PHONE_CALL, current, *sides, duration)
        leg = Leg(cast.tape.moment(rings), face, extension.id, "Accept", "PSTN", master=True)
        return at, face, [leg]

    cast.tape.record(session, extension, [stage(rings, IN_PROGRESS, None), stage(ended, result, 0)])


def log_outbound(
    cast: Casting,
    session: SessionTimeline,
    *,
    ended: float,
    result: str,
    receiver: Json | None = None,
    starts: float = 0.0,
    agent: Extension | None = None,
    action: str = VOIP_CALL,
    leg_type: str = "SipToPstnUnmetered",
    sound: Sound = SILENCE,
    target: SessionTimeline | None = None,
) -> None:
    """Plan the record of a call that one of ours made."""
    agent = agent or cast.agent
    sides = (logged(agent), receiver or raw_caller(cast.customer))
    transport = "VoIP" if receiver is not None else "PSTN"

    def stage(at: float, current: str, duration: int | None) -> tuple[float, Face, list[Leg]]:
        face = Face(OUTBOUND, action, current, *sides, duration)
        leg = Leg(cast.tape.moment(starts), face, agent.id, leg_type, transport, master=True)
        return at, face, [leg]

    cast.tape.record(
        session,
        agent,
        [
            stage(starts, IN_PROGRESS, None),
            stage(ended, result, cast.tape.lasting(starts, ended)),
        ],
        sound=sound,
        target=target,
    )


def log_internal(
    cast: Casting,
    session: SessionTimeline,
    caller: Extension,
    called: Extension,
    *,
    starts: float,
    ended: float,
    target: SessionTimeline | None = None,
    transferee: SessionTimeline | None = None,
) -> None:
    """Plan the two records of a call between extensions, one for each side."""
    sides = (inside(caller), inside(called))
    lasts = cast.tape.lasting(starts, ended)

    def stages(direction: str, final: str, leg_type: str) -> list[tuple[float, Face, list[Leg]]]:
        owner = caller if direction == OUTBOUND else called
        out: list[tuple[float, Face, list[Leg]]] = []
        for at, result, duration in ((starts, IN_PROGRESS, None), (ended, final, lasts)):
            face = Face(direction, VOIP_CALL, result, *sides, duration)
            leg = Leg(cast.tape.moment(starts), face, owner.id, leg_type, "VoIP", master=True)
            out.append((at, face, [leg]))
        return out

    cast.tape.record(
        session, caller, stages(OUTBOUND, "Call connected", "ExtensionToExtension"), target=target
    )
    cast.tape.record(session, called, stages(INBOUND, "Accepted", "Accept"), transferee=transferee)


def queue_number(cast: Casting) -> str:
    return cast.world.queue.direct_number


def log_queue_winner(
    cast: Casting, session: SessionTimeline, answered: float, ended: float, sound: Sound
) -> None:
    """While the call goes on the record looks like a call of the agent to themselves."""
    agent, queue, customer = cast.agent, cast.world.queue, cast.customer
    lasts, talks = cast.tape.lasting(0.0, ended), cast.tape.lasting(answered, ended)
    to_self = (inside(agent), inside(agent))
    ringing = Face(OUTBOUND, VOIP_CALL, IN_PROGRESS, *to_self)
    talking = Face(OUTBOUND, VOIP_CALL, IN_PROGRESS, *to_self, None, "Accepted")
    caller = {
        "phoneNumber": customer.number,
        "name": f"{queue.name} - {customer.caller_id}",
        "location": customer.location,
    }
    over = Face(INBOUND, PHONE_CALL, "Accepted", caller, logged(queue), lasts)
    to_phone = Face(OUTBOUND, VOIP_CALL, "Accepted", inside(agent), logged(agent), talks, "Accepted")

    def leg(second: float, face: Face, leg_type: str, transport: str, master: bool) -> Leg:
        return Leg(cast.tape.moment(second), face, agent.id, leg_type, transport, master)

    cast.tape.record(
        session,
        agent,
        [
            (
                QUEUE_GREETING_SECONDS,
                ringing,
                [leg(QUEUE_GREETING_SECONDS, ringing, "PstnToSip", "VoIP", True)],
            ),
            (answered, talking, [leg(QUEUE_GREETING_SECONDS, talking, "PstnToSip", "VoIP", True)]),
            (
                ended,
                over,
                [
                    leg(0.0, over, "Accept", "PSTN", True),
                    leg(answered, to_phone, "PstnToSip", "VoIP", False),
                ],
            ),
        ],
        sound=sound,
    )
