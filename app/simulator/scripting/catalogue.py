"""The catalogue of scripts. No I/O.

Each script is a function of its casting alone; the same seed, number and start time give the same call. The
event sequences follow RingCentral's published streams: the caller's party comes first and is Outbound
whatever the direction of the call, a party is set up milliseconds after the one it replaces, and all parties
disconnect within some 20 ms at the end.
"""

from collections.abc import Callable, Mapping

from app.simulator.scripting.casting import CallOptions, Casting, choose_casting
from app.simulator.scripting.model import ScriptedCall
from app.simulator.scripting.scripts import (
    group_rings,
    internals,
    menus,
    multi_party,
    plain,
    queues,
    ringouts,
    side_attempts,
    transfers,
)
from app.simulator.scripting.timeline import CallSetup, Timeline, drop_events

Script = Callable[[Casting], None]

SCRIPTS: Mapping[str, Script] = {
    script.__name__: script
    for script in (
        plain.inbound_direct,
        plain.inbound_recorded_with_hold,
        plain.inbound_missed,
        queues.ivr_then_agent,
        plain.outbound_answered,
        plain.outbound_busy,
        plain.outbound_no_answer,
        internals.internal,
        queues.queue_answered,
        queues.queue_abandoned,
        transfers.blind_transfer,
        transfers.warm_transfer,
        transfers.park_and_pickup,
        transfers.park_revived,
        queues.voicemail,
        multi_party.conference,
        multi_party.ringout,
        internals.own_number,
        plain.short_call,
        plain.first_seen_disconnected,
        plain.events_lost,
        plain.test_call,
        transfers.picked_up_elsewhere,
        multi_party.supervised,
        plain.short_call_untold,
        plain.recorded_on_demand,
        plain.recorded_twice,
        transfers.transferred_soon,
        side_attempts.find_me_missed,
        side_attempts.find_me_busy,
        side_attempts.find_me_answered,
        side_attempts.follow_me,
        side_attempts.sip_forwarding,
        transfers.transferred_outside,
        transfers.transfer_to_voicemail,
        transfers.consultation,
        transfers.park_location,
        ringouts.ringout_one_session,
        ringouts.ringout_one_session_unanswered,
        menus.menu_never_answered,
        menus.menu_abandoned,
        group_rings.simultaneous_ring,
        group_rings.pick_up,
        queues.queue_voicemail,
        queues.call_back,
        internals.internal_missed,
        internals.internal_voicemail,
        internals.internal_transferred_outside,
        internals.own_main_number,
        internals.same_number_inbound,
        plain.blocked,
        plain.anonymous_caller,
    )
}

_DELIVERED_EVENTS = {"first_seen_disconnected": 1, "events_lost": 0}
"""How many events, counted from the last one, are delivered; of other scripts all are."""


def describe(name: str) -> str:
    """Return the script's description, the docstring of its function."""
    return (SCRIPTS[name].__doc__ or "").strip()


def plan_call(name: str, setup: CallSetup, options: CallOptions) -> ScriptedCall:
    """Plan a call of this script; raises KeyError for an unknown script."""
    script = SCRIPTS[name]
    timeline = Timeline(setup)
    script(choose_casting(timeline, setup.company, options))
    call = timeline.finish(name)
    delivered = _DELIVERED_EVENTS.get(name)
    return call if delivered is None else drop_events(call, delivered)
