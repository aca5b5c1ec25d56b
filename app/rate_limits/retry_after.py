"""When a refused request has a real chance of being granted: for readers, who are told so and come back once.

`budget.admit` says when a slot is free if nobody else takes it. Behind polls and readings, which take slots as they
become free, that moment moves on and on. So here the others are expected to go on as in the last window, and the
budget itself is asked what it would say then. Does no input or output and reads no clock.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from app.rate_limits.bucket import (
    BucketState,
    Denied,
    Granted,
    Limits,
    Priority,
    RequestSlot,
    admit,
    cycle_seconds,
    window_seconds,
)

_MOST_STEPS: Final = 50
_MOMENT: Final = timedelta(microseconds=1)


def estimate_retry_at(
    refused: Denied, priority: Priority, limits: Limits, *, polls_waiting: bool
) -> datetime:
    """Return the first moment at which a request like the refused one would be granted, if the others go on and a
    poll comes just before it.

    Whoever is told this moment has to stay noted until then, see `noted_until`: or his patience, by which he goes
    before the others in the end, begins anew when he comes.
    """
    moment = refused.until
    for _ in range(_MOST_STEPS):
        state = _continued(noted_until(refused.state, priority, moment, limits), priority, moment, limits)
        state = admit(state, Priority.POLL, moment, limits, polls_waiting=polls_waiting).state
        answer = admit(state, priority, moment, limits, polls_waiting=polls_waiting)
        if isinstance(answer, Granted):
            break
        moment = answer.until
    return moment


def noted_until(state: BucketState, priority: Priority, moment: datetime, limits: Limits) -> BucketState:
    """Note that those who want this kind of request come back at `moment`; they may be a little late."""
    margin = timedelta(seconds=window_seconds(state, limits) / 4)
    wants = (
        replace(want, until=max(want.until, moment + margin)) if want.priority is priority else want
        for want in state.wants
    )
    return replace(state, wants=tuple(wants))


def _continued(state: BucketState, priority: Priority, moment: datetime, limits: Limits) -> BucketState:
    """Return the bucket at `moment` if all others have repeated their requests, each as soon as its slot was free."""
    cycle = timedelta(seconds=cycle_seconds(state, limits))
    slots = (
        slot if slot.priority is priority else _repeated(slot, moment, cycle, limits) for slot in state.slots
    )
    return replace(state, slots=tuple(slots))


def _repeated(slot: RequestSlot, moment: datetime, cycle: timedelta, limits: Limits) -> RequestSlot:
    done_at = slot.done_at or slot.sent_at + timedelta(seconds=limits.request_timeout_seconds)
    # A slot that becomes free at this very moment is nobody's yet.
    rounds = max(0, (moment - _MOMENT - done_at) // cycle)
    return replace(slot, sent_at=slot.sent_at + rounds * cycle, done_at=done_at + rounds * cycle)
