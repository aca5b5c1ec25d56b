"""When a refused request has a real chance: for readers, who are given a time and come back once. Pure.

`bucket.admit` says when a slot is free if nobody else takes it. But polls and Call Log reads take slots as
they become free, so that moment keeps moving. Here the others are expected to continue as in the last window,
and the bucket is asked what it would decide then.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from app.rate_limits.bucket import Denied, Granted, Limits, admit, cycle_seconds, window_seconds
from app.rate_limits.bucket_state import BucketState, RequestSlot
from app.ringcentral.ports import Priority

_MOST_STEPS: Final = 50
_MOMENT: Final = timedelta(microseconds=1)


def estimate_retry_at(
    refused: Denied, priority: Priority, limits: Limits, *, polls_waiting: bool
) -> datetime:
    """Return the first moment at which a request like the refused one would be granted, if the others
    continue and a poll comes just before it.

    Note the waiting reader until then (`noted_until`). Otherwise its patience, by which it eventually goes
    first, starts again when it comes back.
    """
    moment = refused.until
    for _ in range(_MOST_STEPS):
        state = _continued(noted_until(refused.state, priority, moment, limits), priority, moment, limits)
        state = admit(state, Priority.POLL, moment, limits, polls_waiting=polls_waiting).state
        verdict = admit(state, priority, moment, limits, polls_waiting=polls_waiting)
        if isinstance(verdict, Granted):
            break
        moment = verdict.until
    return moment


def noted_until(state: BucketState, priority: Priority, moment: datetime, limits: Limits) -> BucketState:
    """Note that the reader comes back at `moment`, or a little later."""
    margin = timedelta(seconds=window_seconds(state, limits) / 4)
    wants = (
        replace(want, until=max(want.until, moment + margin)) if want.priority is priority else want
        for want in state.wants
    )
    return replace(state, wants=tuple(wants))


def _continued(state: BucketState, priority: Priority, moment: datetime, limits: Limits) -> BucketState:
    """Return the bucket at `moment` if all others have repeated their requests as soon as their slots were
    free.
    """
    cycle = timedelta(seconds=cycle_seconds(state, limits))
    slots = (
        slot if slot.priority is priority else _repeated(slot, moment, cycle, limits) for slot in state.slots
    )
    return replace(state, slots=tuple(slots))


def _repeated(slot: RequestSlot, moment: datetime, cycle: timedelta, limits: Limits) -> RequestSlot:
    done_at = slot.done_at or slot.sent_at + timedelta(seconds=limits.request_timeout_seconds)
    # A slot that becomes free at exactly this moment has not been taken yet.
    rounds = max(0, (moment - _MOMENT - done_at) // cycle)
    return replace(slot, sent_at=slot.sent_at + rounds * cycle, done_at=done_at + rounds * cycle)
