"""Scripts of a menu (IVR) that is never Answered, as in RingCentral's published stream.

In the full published stream through a menu (`dibyenduroy/csn-data`) the menu's party goes from Setup to
Disconnected without a reason, and only the caller's party becomes Answered. An inbound party in Setup means
that call-handling rules run, not that a telephone rings.
"""

from app.simulator.scripting.casting import Casting
from app.simulator.scripting.records import INBOUND, InboundCall, MissedCall, log_inbound, log_missed
from app.simulator.scripting.steps import add_caller, answer, hang_up, keep_recording, ring_extension
from app.simulator.scripting.timeline import PartyTimeline, SessionTimeline

LISTENS = 6.0
"""How long the caller listens to the menu."""


def menu_never_answered(casting: Casting) -> None:
    """The menu's party leaves without ever having been Answered, then the agent's phone rings."""
    session, caller, menu = _enter_menu(casting)
    number = casting.company.main_number
    menu.set_status(LISTENS, "Disconnected")
    party = ring_extension(casting, session, casting.agent, LISTENS + 0.018, number)
    # The ring time counts from here, which is when the agent's party is Proceeding.
    answered = LISTENS + 0.018 + 0.28 + casting.ring
    answer(casting, party, answered)
    ended = hang_up(caller, party, answered + casting.talk)
    recording = keep_recording(casting, party, answered, answered + casting.talk)
    log_inbound(casting, session, InboundCall(answered=answered, ended=ended, dialled=number), recording)


def menu_abandoned(casting: Casting) -> None:
    """The customer hangs up in the menu, before any telephone rings."""
    session, caller, menu = _enter_menu(casting)
    hangs_up = LISTENS / 2
    ended = hang_up(caller, menu, hangs_up)
    # Which result the menu's record has is not published. Abandoned is what a queue's has in the same case.
    missed = MissedCall(extension=casting.company.ivr, rings=0.0, ended=ended, result="Abandoned")
    log_missed(casting, session, missed)


def _enter_menu(casting: Casting) -> tuple[SessionTimeline, PartyTimeline, PartyTimeline]:
    company, session = casting.company, casting.timeline.add_session()
    caller = add_caller(casting, session, company.main_number)
    to_menu = {"phoneNumber": company.main_number, "name": company.ivr.name}
    menu = session.add_party(INBOUND, casting.caller, to_menu)
    menu.set_status(0.025, "Setup")
    caller.set_status(0.200, "Answered")
    return session, caller, menu
