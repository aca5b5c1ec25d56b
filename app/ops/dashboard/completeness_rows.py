"""Describes the completeness of some days in words and plain values. No I/O.

The result is JSON, as in `call_rows`: texts that are shown as they are, and moments (milliseconds since 1970)
that the page writes in the viewer's time zone.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TypedDict

from app.calls.model import Stage
from app.enrichment.gaps import Reason, Sweep
from app.ids import UNBOUND_ACCOUNT
from app.ops.dashboard.wording import Figure, figure, format_count, milliseconds, pluralize, sentence_of
from app.ops.figures.completeness import (
    MOST_CALLS,
    CallInDoubt,
    CallWithoutRecord,
    Completeness,
    Day,
    DoubtReason,
)
from app.ops.problems.model import Subject, read_problem

MOST_LINES = 6
"""Gaps and calls that are listed; `more` counts the rest."""

NO_LOSS = frozenset({"test-call"})
"""Reasons of absence that are no loss."""

_REASONS: Mapping[str, str] = {
    Reason.SERVICE_DOWN: "The service was down",
    Reason.NOT_STORED: "Deliveries could not be stored",
    Reason.MISSING: "The subscription was missing",
    Reason.EXPIRED: "The subscription had expired",
    Reason.SUSPENDED: "RingCentral had suspended the subscription",
    Reason.REFUSED: "Events arrived with another secret",
    Reason.BACKFILL: "Backfill",
    Reason.REGULAR: "Regular sweep of the Call Log",
}
_CALLS: Mapping[str, str] = {
    "never-logged": "no source has it",
    "no-permission": "no credentials can see it",
    "no-credentials": "no credentials serve its account",
    "not-in-the-call-log-yet": "not in the Call Log yet",
    DoubtReason.SINCE_GAP: "live since before a gap: it may be over",
    DoubtReason.TOO_LONG: "live for too long: it may be over",
}


class DayPart(TypedDict):
    """A segment of a day's bar."""

    kind: str
    number: int
    text: str


class DayRow(TypedDict):
    """The calls that ended on a day."""

    name: str
    ended: str
    parts: list[DayPart]
    swept: str


SweepRow = TypedDict(
    "SweepRow",
    {
        "id": str,
        "title": str,
        "account": str,
        "tone": str,
        "from": int,
        "to": int | None,
        "state": str,
        "share": float | None,
        "found": str,
        "detail": str,
    },
)
"""A gap, a backfill or a regular sweep; `share` is how much of it has been read, 0..1."""


class MissingCallRow(TypedDict):
    """A call without a record, or in doubt."""

    id: str
    name: str
    why: str
    tone: str
    since: int
    next: int | None


class CompletenessRows(TypedDict):
    """What became of the calls of some days."""

    state: Figure
    lookedAt: int | None
    days: list[DayRow]
    works: list[SweepRow]
    moreWorks: str
    calls: list[MissingCallRow]
    moreCalls: str


def describe_completeness(found: Completeness, now: datetime) -> CompletenessRows:
    """Describe what became of the calls of some days, and what is still being read."""
    missing = [call for call in found.calls if call.reason not in NO_LOSS]
    # Lost calls first. The sort is stable, so the latest stays first among them.
    missing.sort(key=lambda call: call.stage != Stage.ABSENT)
    works = sorted(
        (sweep for sweep in (*found.regular, *found.gaps) if _is_shown(sweep)),
        key=lambda sweep: (sweep.done_at is not None, -sweep.from_at.timestamp()),
    )
    shown = [*map(_call, missing), *map(_call, found.live)]
    is_all = len(found.calls) < MOST_CALLS and len(found.live) < MOST_CALLS
    value, note, tone = _verdict(found)
    return {
        "state": figure(value, note, tone),
        "lookedAt": milliseconds(found.last_look_at) if found.last_look_at else None,
        "days": [_day(day, now.date()) for day in reversed(found.days) if day.ended],
        "works": [_sweep(sweep, now) for sweep in works[:MOST_LINES]],
        "moreWorks": _more(len(works)),
        "calls": shown[:MOST_LINES],
        "moreCalls": _more(len(shown), is_all=is_all),
    }


def _verdict(found: Completeness) -> tuple[str, str, str]:
    """Return whether a call is missing: a few words, a note and a tone."""
    lost = sum(number for day in found.days for reason, number in day.absent.items() if reason not in NO_LOSS)
    overdue = sum(call.stage == Stage.ENDED for call in found.calls)
    unswept = [gap for gap in found.gaps if gap.is_gap and gap.done_at is None]
    if any(gap.to_at is None for gap in unswept):
        return "No events", "missed calls are fetched afterwards", "bad"
    if lost:
        return (
            f"{format_count(lost)} missing",
            f"{pluralize(lost, 'call')} left no record since yesterday",
            "bad",
        )
    if overdue:
        return f"{format_count(overdue)} being looked up", "in the Call Log, past their window", "later"
    if found.live:
        number = len(found.live)
        return f"{format_count(number)} in doubt", "live but possibly over: RingCentral is asked", "waiting"
    if unswept:
        return "Catching up", "on a time without events", "waiting"
    if not any(day.ended for day in found.days):
        return "Nothing missing", "no call has ended since yesterday", ""
    return "Nothing missing", "every call since yesterday is accounted for", "good"


def _day(day: Day, today: date) -> DayRow:
    tests = sum(number for reason, number in day.absent.items() if reason in NO_LOSS)
    lost = sum(day.absent.values()) - tests
    parts = (
        ("final", day.final, "final"),
        ("way", day.reconciled + day.bootstrapped, "with a record, not final yet"),
        ("open", day.open, "without a record yet"),
        ("absent", lost, "left no record"),
        ("test", tests, "test calls"),
    )
    name = {today: "Today", today - timedelta(days=1): "Yesterday"}.get(day.day, f"{day.day:%d %b}")
    return {
        "name": name,
        "ended": f"{format_count(day.ended)} ended",
        "parts": [
            {"kind": kind, "number": number, "text": f"{format_count(number)} {text}"}
            for kind, number, text in parts
            if number
        ],
        "swept": f"{format_count(day.swept)} announced by no event, found by a sweep" if day.swept else "",
    }


def _is_shown(sweep: Sweep) -> bool:
    """Whether to list a sweep; the regular one only while it reads, and when it cannot."""
    return sweep.reason != Reason.REGULAR or sweep.problem is not None or sweep.cursor_at is not None


def _sweep(sweep: Sweep, now: datetime) -> SweepRow:
    state, tone = _state(sweep, now)
    problem = sweep.problem and read_problem(Subject.SWEEP, sweep.account_id, sweep.problem)
    found = (
        ""
        if sweep.reason == Reason.REGULAR
        else f"{format_count(sweep.found)} {pluralize(sweep.found, 'call')} found"
    )
    return {
        "id": f"{sweep.account_id}/{sweep.sweep_id}",
        "title": _REASONS.get(sweep.reason, sentence_of(sweep.reason)),
        "account": "" if sweep.account_id == UNBOUND_ACCOUNT else sweep.account_id,
        "tone": tone,
        "from": milliseconds(sweep.from_at),
        "to": milliseconds(sweep.to_at) if sweep.to_at else None,
        "state": state,
        "share": _share(sweep),
        "found": found if sweep.records or sweep.done_at else "",
        "detail": (problem and problem.detail) or sweep.detail or "",
    }


def _state(sweep: Sweep, now: datetime) -> tuple[str, str]:
    # A gap that lasts is the worst news, whatever else is known of it.
    if sweep.to_at is None:
        return "not over yet", "bad"
    if sweep.done_at is not None and sweep.reason != Reason.REGULAR:
        return "done", "good"
    if sweep.problem is not None:
        return "makes no progress", "bad"
    if sweep.reason == Reason.BACKFILL and (sweep.lease_until is None or sweep.lease_until < now):
        return "interrupted: the same command continues", "waiting"
    if sweep.cursor_at is not None:
        return "being read", "waiting"
    return ("read once, and again for late records" if sweep.passes else "to be read soon"), "waiting"


def _share(sweep: Sweep) -> float | None:
    """Return how much of it has been read, 0..1; None if it is not being read."""
    if sweep.to_at is None or sweep.cursor_at is None or (sweep.done_at and sweep.reason != Reason.REGULAR):
        return None
    whole = (sweep.to_at - sweep.from_at).total_seconds()
    read = (sweep.cursor_at - sweep.from_at).total_seconds()
    return round(min(1.0, max(0.0, read / whole)), 3) if whole else None


def _call(call: CallWithoutRecord | CallInDoubt) -> MissingCallRow:
    is_absent = isinstance(call, CallWithoutRecord) and call.stage != Stage.ENDED
    return {
        "id": call.call_id,
        "name": call.session_id or call.telephony_session_id,
        "why": _CALLS.get(call.reason, sentence_of(call.reason).lower()),
        "tone": "absent" if is_absent else "overdue",
        "since": milliseconds(call.since),
        "next": milliseconds(call.next_look_at) if call.next_look_at else None,
    }


def _more(number: int, *, is_all: bool = True) -> str:
    return (
        f"and {format_count(number - MOST_LINES)}{'' if is_all else ' or'} more"
        if number > MOST_LINES
        else ""
    )
