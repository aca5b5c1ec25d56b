"""What one rate bucket still allows: one RingCentral user, one app, one group of requests.

Decides; does no input or output and reads no clock. The state is a value kept as JSON in one database row that
all replicas read and change under its lock, so together they never ask for more than the limit.

Facts used (RingCentral's guide "Rate limits"): a group allows so many requests in a sliding window, by default
Heavy 10 in 60 s; beyond that comes 429, and every request inside the penalty, by default 60 s, starts it anew;
limit, window and what remains come in `X-Rate-Limit-*` headers and overrule what was configured.

The server counts a request when it arrives, which is some time between our sending and its answer. So a
request occupies a slot from its sending until a whole window after its answer. One that was never answered,
because its process died, counts as answered when the longest time a request may take has passed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from app.rate_limits.bucket_state import MOST_SLOTS as MOST_SLOTS
from app.rate_limits.bucket_state import BucketState as BucketState
from app.rate_limits.bucket_state import Priority as Priority
from app.rate_limits.bucket_state import RequestSlot as RequestSlot
from app.rate_limits.bucket_state import Want as Want
from app.ringcentral.wire import LONGEST_WAIT_SECONDS

MOST_WINDOWS: Final = 60.0
"""A window that is so many times longer or shorter than the configured one is not believed."""

_FOREIGN: Final = 0
"""The token of a slot that another program has taken; ours begin at 1."""


@dataclass(frozen=True, slots=True)
class _Rank:
    """What a kind of request leaves to the polls, and what it is sure to get in spite of them.

    `reserve_busy` and `reserve_idle` are shares of the limit that must stay free while polls are waiting and while
    none is. A request that has waited for `patience` windows goes before polls until its kind has had `share` of
    the limit in the last window.
    """

    reserve_busy: float
    reserve_idle: float
    share: float
    patience: float


_RANKS: Final[Mapping[Priority, _Rank]] = {
    Priority.CALL_LOG: _Rank(reserve_busy=0.4, reserve_idle=0.1, share=0.2, patience=0.75),
    Priority.RECORDING_METADATA: _Rank(reserve_busy=0.5, reserve_idle=0.2, share=0.1, patience=1.0),
    Priority.CONTENT: _Rank(reserve_busy=0.6, reserve_idle=0.3, share=0.1, patience=2.0),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds until a header says otherwise, in seconds. `request_timeout_seconds` must outlast the client's."""

    limit: int = 10
    window_seconds: float = 60.0
    penalty_seconds: float = 60.0
    request_timeout_seconds: float = 30.0
    margin_share: float = 1.0 / 600.0
    """Of a window or penalty, kept as distance to its end: clocks of two replicas differ, and rounding."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Send one request now. `token` goes to `settle` with its answer; a retry needs a grant of its own."""

    state: BucketState
    token: int


@dataclass(frozen=True, slots=True)
class Denied:
    """Send nothing. Ask again at `until`, or earlier when the bucket was settled; `reason` goes to log and metrics.

    `state` remembers who waits and has to be stored as after a grant, or nobody waits long enough for their share.
    """

    state: BucketState
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RateResponse:
    """What an answer says about the bucket. `status` is None when no answer came (timeout, broken connection)."""

    status: int | None
    limit: int | None = None
    remaining: int | None = None
    window_seconds: float | None = None
    retry_after_seconds: float | None = None


NO_ANSWER: Final = RateResponse(None)


def admit(
    state: BucketState, priority: Priority, now: datetime, limits: Limits, *, polls_waiting: bool = False
) -> Granted | Denied:
    """Take a slot for one request that will be sent at once, or say when to come back.

    Polls may take every free slot but those held for others who have waited for too long; the others leave a
    reserve, a larger one while `polls_waiting`. Store the state in either case.
    """
    state = _tidy(state, now, limits)
    silent = silent_until(state, limits)
    if silent is not None and now < silent:
        return Denied(_wanting(state, priority, now, silent, limits), silent, "penalty")
    kept = _kept_from(state, priority, now, limits, polls_waiting=polls_waiting)
    times = _slot_times(state, now, limits)
    if kept < len(times) and times[kept] <= now:
        token = state.last_token + 1
        slot = RequestSlot(token, priority, sent_at=now)
        wants = tuple(want for want in state.wants if want.priority != priority)
        return Granted(replace(state, slots=(*state.slots, slot), wants=wants, last_token=token), token)
    until = times[kept] if kept < len(times) else max(times[-1], now + _window(state, limits) / 60)
    patience_ends = _patience_ends(state, priority, now, limits) if priority in _RANKS else now
    if now < patience_ends:
        until = min(until, max(patience_ends, times[0]))
    reason = "no slot is free" if times[0] > now else "kept for others"
    return Denied(_wanting(state, priority, now, until, limits), until, reason)


def settle(
    state: BucketState, token: int, answer: RateResponse, now: datetime, limits: Limits
) -> BucketState:
    """Learn from the answer to the request of this token, `now` being the answer's arrival (or the giving up).

    May come in any order, late, or for a slot that has been forgotten. Settling twice does no harm.
    """
    mine = next((slot for slot in state.slots if slot.token == token), None)
    settled = (
        replace(mine, done_at=now) if mine else RequestSlot(token, Priority.POLL, sent_at=now, done_at=now)
    )
    state = replace(
        state,
        slots=(*(slot for slot in state.slots if slot.token != token), settled),
        limit=answer.limit or state.limit,
        window_seconds=(
            answer.window_seconds
            if answer.window_seconds and believes_window(answer.window_seconds, limits)
            else state.window_seconds
        ),
    )
    silent = silent_until(state, limits)
    if answer.status == 429:
        state = _punished(state, answer.retry_after_seconds, now, limits)
    elif answer.status is None and silent is not None and settled.sent_at < silent:
        # It may have arrived inside the penalty and started it anew without our hearing of it.
        state = _punished(state, None, now, limits)
    elif answer.remaining is not None and mine is not None:
        state = _with_foreign(state, settled, answer.remaining, now, limits)
    return _tidy(state, now, limits)


def silent_until(state: BucketState, limits: Limits) -> datetime | None:
    """The moment before which nothing may be sent, or None when there was no penalty.

    A request that is under way while a penalty runs may arrive inside it, and so start it anew; until it is answered,
    or its time has run out, the worst is assumed.
    """
    until = state.penalty_until
    if until is None:
        return None
    worst = timedelta(seconds=limits.request_timeout_seconds) + _penalty(None, limits)
    for slot in sorted(state.slots, key=lambda slot: slot.sent_at):
        if slot.done_at is None and slot.sent_at < until:
            until = max(until, slot.sent_at + worst)
    return until


def free_slots(state: BucketState, now: datetime, limits: Limits) -> int:
    """How many requests of the highest priority could be sent at once; 0 inside a penalty."""
    return sum(1 for at in poll_times(state, now, limits) if at <= now)


def next_free_at(state: BucketState, now: datetime, limits: Limits) -> datetime:
    """The first moment at which a poll could be sent; `now` when that is possible already."""
    return max(now, poll_times(state, now, limits)[0])


def poll_times(state: BucketState, now: datetime, limits: Limits) -> tuple[datetime, ...]:
    """When the polls' slots become free, ascending, at least one; a moment that has passed means free now.

    One entry for each request that fits into the coming window, without those that requests of lower priority will
    take when their patience is over. None lies inside a penalty. A request sent at an entry's time occupies the slot for
    `cycle_seconds`.
    """
    state = _tidy(state, now, limits)
    times = _slot_times(state, now, limits)
    sure = (want.priority for want in state.wants if _has_share_left(state, want.priority, limits))
    for patience_ends in sorted(_patience_ends(state, priority, now, limits) for priority in sure):
        # Known beforehand, so that the polls can be spaced around it.
        if len(times) > 1:
            times.pop(min(bisect_left(times, patience_ends), len(times) - 1))
    silent = silent_until(state, limits)
    return tuple(at if silent is None else max(at, silent) for at in times)


def cycle_seconds(state: BucketState, limits: Limits) -> float:
    """How long a request occupies its slot after its answer."""
    return _occupation(state, limits).total_seconds()


def limit_of(state: BucketState, limits: Limits) -> int:
    """How many requests a window takes."""
    return _limit(state, limits)


def window_seconds(state: BucketState, limits: Limits) -> float:
    """The length of the sliding window."""
    return _window(state, limits).total_seconds()


def _slot_times(state: BucketState, now: datetime, limits: Limits) -> list[datetime]:
    """When each of the `limit` slots is free, ascending, penalties aside. More requests than slots push them back."""
    limit = _limit(state, limits)
    ends = sorted(_ends_at(slot, state, limits) for slot in state.slots)
    if len(ends) >= limit:
        return ends[len(ends) - limit :]
    return [now] * (limit - len(ends)) + ends


def _ends_at(slot: RequestSlot, state: BucketState, limits: Limits) -> datetime:
    counted_by = slot.done_at or slot.sent_at + timedelta(seconds=limits.request_timeout_seconds)
    return counted_by + _occupation(state, limits)


def _tidy(state: BucketState, now: datetime, limits: Limits) -> BucketState:
    """Forget what cannot matter any more."""
    state = _healed(state, now, limits)
    silent = silent_until(state, limits)
    penalised = silent is not None and now < silent
    slots = tuple(
        slot
        for slot in state.slots
        if _ends_at(slot, state, limits) > now or (penalised and slot.done_at is None)
    )
    wants = tuple(want for want in state.wants if want.until > now)
    if not penalised:
        state = replace(state, penalty_until=None, penalty_since=None)
    return replace(state, slots=slots, wants=wants)


def _healed(state: BucketState, now: datetime, limits: Limits) -> BucketState:
    """Bring moments of a future that no request can have told of back within reach: a clock may have been set back."""
    farthest = now + _penalty(LONGEST_WAIT_SECONDS, limits)
    latest = now + _window(state, limits) + timedelta(seconds=limits.request_timeout_seconds)
    if state.penalty_until is not None and state.penalty_until > farthest:
        state = replace(state, penalty_until=farthest)
    if any((slot.done_at or slot.sent_at) > latest for slot in state.slots):
        state = replace(state, slots=tuple(_within(slot, now, latest) for slot in state.slots))
    return state


def _within(slot: RequestSlot, now: datetime, latest: datetime) -> RequestSlot:
    if (slot.done_at or slot.sent_at) <= latest:
        return slot
    return replace(slot, sent_at=min(slot.sent_at, now), done_at=slot.done_at and now)


def _kept_from(
    state: BucketState, priority: Priority, now: datetime, limits: Limits, *, polls_waiting: bool
) -> int:
    """How many free slots a request of this priority has to leave alone."""
    held = _held_for_others(state, priority, now, limits)
    if priority is Priority.POLL or _is_due(state, priority, now, limits):
        return held
    rank = _RANKS[priority]
    share = rank.reserve_busy if polls_waiting else rank.reserve_idle
    return min(max(held, math.ceil(share * _limit(state, limits))), _limit(state, limits) - 1)


def _held_for_others(state: BucketState, priority: Priority, now: datetime, limits: Limits) -> int:
    """Slots set aside for other kinds below the polls whose patience is over and whose share is not used up."""
    return sum(
        1
        for want in state.wants
        if want.priority != priority
        and (priority is Priority.POLL or want.priority > priority)
        and _is_due(state, want.priority, now, limits)
    )


def _is_due(state: BucketState, priority: Priority, now: datetime, limits: Limits) -> bool:
    """Whether this kind has waited for too long, and has had less than its share of the last window."""
    return _patience_ends(state, priority, now, limits) <= now and _has_share_left(state, priority, limits)


def _has_share_left(state: BucketState, priority: Priority, limits: Limits) -> bool:
    had = sum(1 for slot in state.slots if slot.priority is priority)
    return had < max(1, int(_RANKS[priority].share * _limit(state, limits)))


def _patience_ends(state: BucketState, priority: Priority, now: datetime, limits: Limits) -> datetime:
    """When this kind's patience ends; with a tiny limit the patience is longer, or it would take every slot."""
    since = next((want.since for want in state.wants if want.priority is priority), now)
    windows = max(_RANKS[priority].patience, 2.0 / _limit(state, limits))
    return since + windows * _window(state, limits)


def _wanting(
    state: BucketState, priority: Priority, now: datetime, again_at: datetime, limits: Limits
) -> BucketState:
    """Note who waits. The note fades when the asker does not come back, so that a dead one holds nothing for ever."""
    if priority is Priority.POLL:
        return state
    known = next((want for want in state.wants if want.priority is priority), None)
    since = known.since if known else now
    want = Want(priority, since, until=again_at + _window(state, limits) / 4)
    return replace(state, wants=(*(other for other in state.wants if other.priority is not priority), want))


def _punished(
    state: BucketState, retry_after_seconds: float | None, now: datetime, limits: Limits
) -> BucketState:
    return silenced(state, now + _penalty(retry_after_seconds, limits), now)


def silenced(state: BucketState, until: datetime, now: datetime) -> BucketState:
    """Send nothing before `until`, nor before the end of a penalty that goes on."""
    goes_on = state.penalty_until is not None and state.penalty_until > now
    return replace(
        state,
        penalty_until=max(until, state.penalty_until or until),
        penalty_since=(state.penalty_since if goes_on else None) or now,
    )


def _with_foreign(
    state: BucketState, settled: RequestSlot, remaining: int, now: datetime, limits: Limits
) -> BucketState:
    """Bring the slots taken by other programs into line with what the server says remains.

    The server counted `limit - remaining` requests when this one arrived. Of ours, it has surely counted those
    answered before this one was sent, and perhaps those under way with it. What it counted beyond all of them is
    others'; what it counted beyond the sure ones is the most that others can have.
    """
    limit = _limit(state, limits)
    counted = min(max(0, (state.limit or limit) - remaining), limit)
    ours = [slot for slot in state.slots if slot.token != _FOREIGN]
    foreign = [slot for slot in state.slots if slot.token == _FOREIGN]
    window = _window(state, limits)
    sure = sum(
        1
        for slot in ours
        if slot is settled
        or (slot.done_at is not None and slot.done_at <= settled.sent_at and slot.sent_at > now - window)
    )
    most, least = max(0, counted - sure), max(0, counted - len(ours))
    while len(foreign) > most:
        foreign.remove(min(foreign, key=lambda slot: slot.done_at or slot.sent_at))
    # When others asked is unknown; that it was before this answer is certain.
    foreign += [RequestSlot(_FOREIGN, Priority.POLL, sent_at=now, done_at=now)] * (least - len(foreign))
    return replace(state, slots=(*ours, *foreign))


def believes_window(seconds: float, limits: Limits) -> bool:
    """Whether a window that a header states can be right, given the configured one."""
    return limits.window_seconds / MOST_WINDOWS <= seconds <= limits.window_seconds * MOST_WINDOWS


def _limit(state: BucketState, limits: Limits) -> int:
    return min(max(1, state.limit or limits.limit), MOST_SLOTS)


def _window(state: BucketState, limits: Limits) -> timedelta:
    told = state.window_seconds
    return timedelta(seconds=told if told and believes_window(told, limits) else limits.window_seconds)


def _occupation(state: BucketState, limits: Limits) -> timedelta:
    return _window(state, limits) * (1.0 + limits.margin_share)


def _penalty(retry_after_seconds: float | None, limits: Limits) -> timedelta:
    told = limits.penalty_seconds if retry_after_seconds is None else retry_after_seconds
    seconds = min(told, LONGEST_WAIT_SECONDS)
    return timedelta(seconds=seconds * (1.0 + limits.margin_share))
