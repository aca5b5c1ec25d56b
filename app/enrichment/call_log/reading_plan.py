"""Decides how due calls are read in the Call Log: by session, by a window of time, or by record. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.calls.model import Call, Stage
from app.calls.store import DueCall
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.settling import awaits_parts, is_stable
from app.ids import RecordId, SessionId, is_alias
from app.ringcentral.models import RecordsPage
from app.work.backoff import Backoff

MOST_NAMED = 30
"""Records in one bulk read."""

_BEFORE_START_SECONDS = 60.0
_AFTER_START_SECONDS = 120.0
_MARGIN_SECONDS = _BEFORE_START_SECONDS + _AFTER_START_SECONDS
_LONGEST_SPAN_SECONDS = 3600.0
_MOST_DOUBLINGS = 6
_READS_BEFORE_ANOTHER_WAY = 4
_PATIENCE_SECONDS = 30.0
_OVERDUE_SECONDS = 180.0
"""A call that has been due for longer is requested by the record that Active Calls showed."""

_READ_BEFORE = (Stage.RECONCILED, Stage.FINAL)
"""Calls whose Detailed record only has to be confirmed; final ones when their end has moved."""


@dataclass(frozen=True, slots=True)
class BySession:
    """Request one session, with `view` only: other parameters are refused together with it (CLG-110)."""

    call_ids: tuple[str]
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class ByWindow:
    """Request all calls whose *start* lies between the two times; serves many calls at once."""

    date_from: datetime
    date_to: datetime
    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByRecords:
    """Request records by their ids: shows whether they have changed, not whether there are more."""

    call_ids: tuple[str, ...]
    record_ids: tuple[RecordId, ...]


Request = BySession | ByWindow | ByRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What the choice of the request needs of a due call.

    `waited`: seconds since it was due. `record_ids`: its records, if it may be requested by them.
    """

    call_id: str
    session_id: str | None
    started_at: datetime
    reads: int
    waited: float = 0.0
    record_ids: tuple[str, ...] = ()


def plan_read(due: Sequence[Due], page_seconds: float | None = None) -> Request:
    """Choose the request that is worth most for waiting calls per page.

    A single call is requested by its session first. If that has failed before, or several calls wait, the
    request is by start time: among the windows that fit into one or two pages, given how many seconds of
    starts a page held recently, the one that is worth most. Calls that may be requested by their records and
    started far apart share a request by those. `due` starts with the call that has been due longest.
    """
    first = due[0]
    if (
        len(due) == 1
        and first.reads % 2 == 0
        and first.session_id is not None
        and is_alias(first.session_id)
        and first.session_id.isdecimal()
    ):
        return BySession((first.call_id,), SessionId(first.session_id))
    near, worth = _densest(due, page_seconds)
    named = _named(due)
    if sum(map(_worth, named)) > worth:
        return ByRecords(
            call_ids=tuple(call.call_id for call in named),
            record_ids=tuple(RecordId(one) for call in named for one in call.record_ids),
        )
    return ByWindow(
        date_from=near[0].started_at - timedelta(seconds=_BEFORE_START_SECONDS),
        date_to=near[-1].started_at + timedelta(seconds=_AFTER_START_SECONDS),
        call_ids=tuple(call.call_id for call in near),
    )


def _worth(call: Due) -> float:
    """Return what it is worth to read a call now; squared, so that none waits much longer than the others."""
    return (1.0 + call.waited / _PATIENCE_SECONDS) ** 2


def _densest(due: Sequence[Due], page_seconds: float | None) -> tuple[list[Due], float]:
    """Return the calls of the window that is worth most per page, by start, and that worth."""
    ordered = sorted(due, key=lambda call: call.started_at)
    page = page_seconds or math.inf
    best = [max(ordered, key=_worth)]
    most = _worth(best[0])
    for pages in (1, 2):
        longest = min(_LONGEST_SPAN_SECONDS, page * pages - _MARGIN_SECONDS)
        first, worth = 0, 0.0
        for last, call in enumerate(ordered if longest >= 0 else ()):
            worth += _worth(call)
            while (call.started_at - ordered[first].started_at).total_seconds() > longest:
                worth -= _worth(ordered[first])
                first += 1
            if worth / pages > most:
                best, most = ordered[first : last + 1], worth / pages
    return best, most


def _named(due: Sequence[Due]) -> list[Due]:
    """Return the calls that fit into one bulk read by records, whole calls only."""
    named: list[Due] = []
    count = 0
    for call in due:
        if call.record_ids and (not named or count + len(call.record_ids) <= MOST_NAMED):
            named.append(call)
            count += len(call.record_ids)
    return named


def next_read(call: Call, plan: CallLogPlan, now: datetime, seen_at: datetime) -> datetime | None:
    """Return when to read a call again that was just read and is known as of `seen_at`.

    None when its horizon has passed, or when nothing but recordings, a voicemail or insights are missing.
    """
    ended_at = call.ended_at or call.started_at
    horizon = ended_at + timedelta(seconds=plan.horizon)
    if now >= horizon:
        return None
    if call.stage == Stage.FINAL and is_stable(call, plan, seen_at):
        return None
    if call.stage in _READ_BEFORE:
        if is_stable(call, plan, seen_at) and awaits_parts(call):
            return None  # The work on these parts makes it final.
        return now + timedelta(seconds=plan.settled_after)
    backoff = Backoff(first=plan.gap, longest=plan.gap * 2.0**_MOST_DOUBLINGS)
    return min(now + timedelta(seconds=backoff.pause(call.reads)), horizon)


def needs_another_way(call: Call | DueCall) -> bool:
    """Whether a call that the feed has not shown is requested itself: every other time, after some reads."""
    is_missing = call.stage not in _READ_BEFORE
    return is_missing and call.reads >= _READS_BEFORE_ANOTHER_WAY and call.reads % 2 == 0


def seconds_per_page(page: RecordsPage, known: float | None) -> float | None:
    """Return how many seconds of starts fill a page, by the first page of a window and what was known before.

    None: more than a window needs.
    """
    starts = [record.start_time for record in page.records if record.start_time is not None]
    if page.has_next and starts:
        return max(1.0, (max(starts) - min(starts)).total_seconds())
    is_sparse = page.per_page is not None and len(page.records) < page.per_page / 4
    if known is None or not is_sparse:
        return known
    return 2.0 * known if known < _LONGEST_SPAN_SECONDS else None


def may_be_named(call: Call | DueCall, now: datetime) -> bool:
    """Whether a call is requested by its known records: it only has to be confirmed, or it has waited for too
    long.

    There may be records that Active Calls did not show; a sweep finds them later.
    """
    is_overdue = call.read_at is not None and (now - call.read_at).total_seconds() >= _OVERDUE_SECONDS
    return call.stage in _READ_BEFORE or (call.stage == Stage.BOOTSTRAPPED and is_overdue)


def as_due(call: Call | DueCall, now: datetime, record_ids: Sequence[str] = ()) -> Due:
    """Return what the choice of a request needs of a call; `record_ids` if it may be requested by them."""
    return Due(
        call_id=call.call_id,
        session_id=call.session_id,
        started_at=call.started_at,
        reads=call.reads,
        waited=0.0 if call.read_at is None else max(0.0, (now - call.read_at).total_seconds()),
        record_ids=tuple(record_ids),
    )
