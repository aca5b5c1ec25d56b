"""What one rate bucket still allows: one RingCentral user, one app, one group of requests.

Pure. The state is a value, kept as JSON in one database row. All replicas read and change it under the row's
lock, so together they stay within the limit.

Facts (RingCentral's guide "Rate limits"): a group allows a number of requests in a sliding window, by default
Heavy 10 in 60 s. A request beyond that gets a 429, and every request inside the penalty, by default 60 s,
restarts it. Limit, window and remaining requests come in `X-Rate-Limit-*` headers and override the
configuration.

The server counts a request when it arrives, some time between our sending and its response. So a request
occupies a slot from its sending until a whole window after its response. One that never gets a response,
because its process died, counts as answered once the longest time a request may take has passed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from app.rate_limits.bucket_state import MOST_SLOTS, BucketState, RequestSlot, Want
from app.ringcentral.ports import Priority
from app.ringcentral.wire import LONGEST_WAIT_SECONDS

MOST_WINDOWS: Final = 60.0
"""A window this many times longer or shorter than the configured one is not believed."""

_FOREIGN: Final = 0
"""The token of a slot that another program has taken; ours begin at 1."""


@dataclass(frozen=True, slots=True)
class _Rank:
    """What a kind of request leaves to the polls, and what it gets in spite of them.

    `reserve_busy` and `reserve_idle` are the shares of the limit that must stay free while polls are waiting
    and while none is. A request that has waited for `patience` windows goes before polls until its kind has
    had `share` of the limit in the last window.
    """

    reserve_busy: float
    reserve_idle: float
    share: float
    patience: float


_RANKS: Final[Mapping[Priority, _Rank]] = {
    Priority.RECONCILE: _Rank(reserve_busy=0.4, reserve_idle=0.1, share=0.2, patience=0.75),
    Priority.METADATA: _Rank(reserve_busy=0.5, reserve_idle=0.2, share=0.1, patience=1.0),
    Priority.CONTENT: _Rank(reserve_busy=0.6, reserve_idle=0.3, share=0.1, patience=2.0),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits until a header says otherwise, in seconds. `request_timeout_seconds` must be longer than the
    client's timeout.
    """

    limit: int = 10
    window_seconds: float = 60.0
    penalty_seconds: float = 60.0
    request_timeout_seconds: float = 30.0
    margin_share: float = 1.0 / 600.0
    """Share of a window or penalty kept as distance to its end, for rounding and for replicas whose clocks
    differ.
    """


@dataclass(frozen=True, slots=True)
class Granted:
    """Send one request now. `token` goes to `settle` with the response. A retry needs a grant of its own."""

    state: BucketState
    token: int


@dataclass(frozen=True, slots=True)
class Denied:
    """Send nothing. Retry at `until`, or earlier once the bucket was settled. `reason` is for logs and
    metrics.

    Store `state` as after a grant: it records who waits, without which nobody would wait long enough for
    their share.
    """

    state: BucketState
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RateResponse:
    """What a response says about the bucket. `status` is None if none came (timeout, broken connection)."""

    status: int | None
    limit: int | None = None
    remaining: int | None = None
    window_seconds: float | None = None
    retry_after_seconds: float | None = None


NO_ANSWER: Final = RateResponse(None)


def admit(
    state: BucketState, priority: Priority, now: datetime, limits: Limits, *, polls_waiting: bool = False
) -> Granted | Denied:
    """Take a slot for one request that will be sent at once, or say when to retry. Store the state in either
    case.

    READER and GLANCE share what is left with CONTENT. Polls may take any free slot except those held for
    others who have waited too long. The others leave a reserve, a larger one while `polls_waiting`.
    """
    state, priority = _tidy(state, now, limits), min(priority, Priority.CONTENT)
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
    state: BucketState, token: int, response: RateResponse, now: datetime, limits: Limits
) -> BucketState:
    """Learn from the response to the request with this token; `now` is when it arrived, or was given up.

    May be called in any order, late, or for a forgotten slot. Settling twice does no harm.
    """
    mine = next((slot for slot in state.slots if slot.token == token), None)
    settled = (
        replace(mine, done_at=now) if mine else RequestSlot(token, Priority.POLL, sent_at=now, done_at=now)
    )
    state = replace(
        state,
        slots=(*(slot for slot in state.slots if slot.token != token), settled),
        limit=response.limit or state.limit,
        window_seconds=(
            response.window_seconds
            if response.window_seconds and believes_window(response.window_seconds, limits)
            else state.window_seconds
        ),
    )
    silent = silent_until(state, limits)
    if response.status == 429:
        state = _penalised(state, response.retry_after_seconds, now, limits)
    elif response.status is None and silent is not None and settled.sent_at < silent:
        # It may have arrived inside the penalty and restarted it, with no response to tell us.
        state = _penalised(state, None, now, limits)
    elif response.remaining is not None and mine is not None:
        state = _with_foreign(state, settled, response.remaining, now, limits)
    return _tidy(state, now, limits)


def silent_until(state: BucketState, limits: Limits) -> datetime | None:
    """The moment before which nothing may be sent; None without a penalty.

    A request that is under way during a penalty may arrive inside it and so restart it. Until it gets a
    response, or its time has run out, the worst is assumed.
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
    """How many polls could be sent at once; 0 inside a penalty."""
    return sum(1 for at in poll_times(state, now, limits) if at <= now)


def poll_times(state: BucketState, now: datetime, limits: Limits) -> tuple[datetime, ...]:
    """When the slots for polls become free, ascending, at least one. A past moment means that it is free now.

    One entry for each request that fits into the coming window, except those that requests of lower priority
    will take when their patience ends. None lies inside a penalty. A request sent at one of these times
    occupies the slot for `cycle_seconds`.
    """
    state = _tidy(state, now, limits)
    times = _slot_times(state, now, limits)
    sure = (want.priority for want in state.wants if _has_share_left(state, want.priority, limits))
    for patience_ends in sorted(_patience_ends(state, priority, now, limits) for priority in sure):
        # Known in advance, so that the polls can be spaced around it.
        if len(times) > 1:
            times.pop(min(bisect_left(times, patience_ends), len(times) - 1))
    silent = silent_until(state, limits)
    return tuple(at if silent is None else max(at, silent) for at in times)


def cycle_seconds(state: BucketState, limits: Limits) -> float:
    """How long a request occupies its slot after its response."""
    return _occupation(state, limits).total_seconds()


def limit_of(state: BucketState, limits: Limits) -> int:
    """How many requests fit into a window."""
    return _limit(state, limits)


def window_seconds(state: BucketState, limits: Limits) -> float:
    """The length of the sliding window."""
    return _window(state, limits).total_seconds()


def _slot_times(state: BucketState, now: datetime, limits: Limits) -> list[datetime]:
    """When each of the `limit` slots is free, ascending, ignoring penalties. More requests than slots push
    them back.
    """
    limit = _limit(state, limits)
    ends = sorted(_ends_at(slot, state, limits) for slot in state.slots)
    if len(ends) >= limit:
        return ends[len(ends) - limit :]
    return [now] * (limit - len(ends)) + ends


def _ends_at(slot: RequestSlot, state: BucketState, limits: Limits) -> datetime:
    counted_by = slot.done_at or slot.sent_at + timedelta(seconds=limits.request_timeout_seconds)
    return counted_by + _occupation(state, limits)


def _tidy(state: BucketState, now: datetime, limits: Limits) -> BucketState:
    """Forget what no longer matters."""
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
    """Limit times in the future to what a request can have caused: a clock may have been set back."""
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
    """How many free slots a request of this priority must leave."""
    held = _held_for_others(state, priority, now, limits)
    if priority is Priority.POLL or _is_due(state, priority, now, limits):
        return held
    rank = _RANKS[priority]
    share = rank.reserve_busy if polls_waiting else rank.reserve_idle
    return min(max(held, math.ceil(share * _limit(state, limits))), _limit(state, limits) - 1)


def _held_for_others(state: BucketState, priority: Priority, now: datetime, limits: Limits) -> int:
    """Slots held for other kinds than polls whose patience is over and whose share is not used up."""
    return sum(
        1
        for want in state.wants
        if want.priority != priority
        and (priority is Priority.POLL or want.priority < priority)
        and _is_due(state, want.priority, now, limits)
    )


def _is_due(state: BucketState, priority: Priority, now: datetime, limits: Limits) -> bool:
    """Whether this kind has waited too long, and has had less than its share of the last window."""
    return _patience_ends(state, priority, now, limits) <= now and _has_share_left(state, priority, limits)


def _has_share_left(state: BucketState, priority: Priority, limits: Limits) -> bool:
    had = sum(1 for slot in state.slots if slot.priority is priority)
    return had < max(1, int(_RANKS[priority].share * _limit(state, limits)))


def _patience_ends(state: BucketState, priority: Priority, now: datetime, limits: Limits) -> datetime:
    """When this kind's patience ends. With a tiny limit it is longer, or this kind would take every slot."""
    since = next((want.since for want in state.wants if want.priority is priority), now)
    windows = max(_RANKS[priority].patience, 2.0 / _limit(state, limits))
    return since + windows * _window(state, limits)


def _wanting(
    state: BucketState, priority: Priority, now: datetime, again_at: datetime, limits: Limits
) -> BucketState:
    """Note who waits. The note expires unless it is renewed, so that a crashed process reserves nothing
    forever.
    """
    if priority is Priority.POLL:
        return state
    known = next((want for want in state.wants if want.priority is priority), None)
    since = known.since if known else now
    want = Want(priority, since, until=again_at + _window(state, limits) / 4)
    return replace(state, wants=(*(other for other in state.wants if other.priority is not priority), want))


def _penalised(
    state: BucketState, retry_after_seconds: float | None, now: datetime, limits: Limits
) -> BucketState:
    return silenced(state, now + _penalty(retry_after_seconds, limits), now)


def silenced(state: BucketState, until: datetime, now: datetime) -> BucketState:
    """Send nothing before `until`, nor before the end of a penalty that is still running."""
    goes_on = state.penalty_until is not None and state.penalty_until > now
    return replace(
        state,
        penalty_until=max(until, state.penalty_until or until),
        penalty_since=(state.penalty_since if goes_on else None) or now,
    )


def _with_foreign(
    state: BucketState, settled: RequestSlot, remaining: int, now: datetime, limits: Limits
) -> BucketState:
    """Adjust the slots taken by other programs to what the server says remains.

    The server had counted `limit - remaining` requests when this one arrived. Of ours, it had certainly
    counted those answered before this one was sent, and perhaps those under way with it. What it counted
    beyond all of ours is others'. What it counted beyond the certain ones is the most that others can have.
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
    # When the others sent theirs is unknown. It was before this response at the latest.
    foreign += [RequestSlot(_FOREIGN, Priority.POLL, sent_at=now, done_at=now)] * (least - len(foreign))
    return replace(state, slots=(*ours, *foreign))


def believes_window(seconds: float, limits: Limits) -> bool:
    """Whether a window stated by a header can be right, given the configured one."""
    return limits.window_seconds / MOST_WINDOWS <= seconds <= limits.window_seconds * MOST_WINDOWS


def _limit(state: BucketState, limits: Limits) -> int:
    return min(max(1, state.limit or limits.limit), MOST_SLOTS)


def _window(state: BucketState, limits: Limits) -> timedelta:
    stated = state.window_seconds
    return timedelta(seconds=stated if stated and believes_window(stated, limits) else limits.window_seconds)


def _occupation(state: BucketState, limits: Limits) -> timedelta:
    return _window(state, limits) * (1.0 + limits.margin_share)


def _penalty(retry_after_seconds: float | None, limits: Limits) -> timedelta:
    stated = limits.penalty_seconds if retry_after_seconds is None else retry_after_seconds
    seconds = min(stated, LONGEST_WAIT_SECONDS)
    return timedelta(seconds=seconds * (1.0 + limits.margin_share))
