"""Describes the figures, the problems and the first steps in words and plain values. No I/O.

The result is JSON, as in `call_rows`: each top-level entry can be sent by itself when it has changed.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from app.accounts.credentials import OWN
from app.ids import UNBOUND_ACCOUNT
from app.ops.dashboard.call_rows import Scale, describe_party
from app.ops.dashboard.wording import (
    NONE,
    Figure,
    figure,
    format_ago,
    format_count,
    format_duration,
    is_or_are,
    join,
    lower_first,
    milliseconds,
    pluralize,
)
from app.ops.figures.budget import Budget
from app.ops.figures.call_figures import CallFigures, CallInWindow
from app.ops.figures.summary import ServiceSummary
from app.ops.problems.model import ProblemToFix, Subject
from app.ops.states import InboxState, is_backlog
from app.settings import Settings

_MOST_WAITING = 6
_MOST_SLOTS = 40

WaitingRow = TypedDict("WaitingRow", {"id": str, "from": str, "to": str, "endedAt": int, "closesAt": int})


class SlotRow(TypedDict):
    """A request that occupies the window; `kind` is its priority."""

    kind: str
    sentAt: int
    freesAt: int


class BudgetRow(TypedDict):
    """The request budget; `window` in seconds."""

    free: int
    limit: int
    window: float
    silentUntil: int | None
    tone: str
    note: str
    slots: list[SlotRow]


class ProblemRow(TypedDict):
    """A problem, and where it is; `where` is empty for the service as a whole."""

    title: str
    where: str
    detail: str
    todo: str
    tone: str


class FirstStep(TypedDict):
    """A step of setting up."""

    done: bool
    title: str
    how: str


class SummaryRows(TypedDict):
    """`minutes` are [seconds since 1970, found, later or overdue, absent, waiting, swept]."""

    headline: str
    figures: dict[str, Figure]
    budget: BudgetRow
    waiting: list[WaitingRow]
    more: str
    histogram: list[int]
    minutes: list[list[int]]
    inbox: Figure
    subscription: Figure
    problems: list[ProblemRow]
    steps: list[FirstStep]
    scale: Scale


def describe_summary(summary: ServiceSummary, settings: Settings, *, unmasked: bool) -> SummaryRows:
    """Describe the figures of the page."""
    now, waiting = summary.at, summary.calls.waiting
    return {
        "headline": headline(summary),
        "figures": _figures(summary),
        "budget": _budget(summary, settings),
        "waiting": [_waiting(call, unmasked=unmasked) for call in summary.waiting[:_MOST_WAITING]],
        "more": f"{format_count(waiting)} in total" if waiting > 3 else "",
        "histogram": list(summary.delays.bins),
        "minutes": [
            [
                milliseconds(minute.at) // 1000,
                minute.in_window,
                minute.later + minute.overdue,
                minute.absent,
                minute.waiting,
                minute.swept,
            ]
            for minute in summary.minutes
        ],
        "inbox": _inbox(summary.inbox, summary.window_seconds),
        "subscription": _subscription(summary, settings, now),
        "problems": [describe_problem(problem) for problem in summary.problems],
        "steps": first_steps(summary, settings),
        "scale": {
            "window": summary.window_seconds,
            "lagMin": summary.lag_min_seconds,
            "lagMax": summary.lag_max_seconds,
        },
    }


def _waiting(call: CallInWindow, *, unmasked: bool) -> WaitingRow:
    return {
        "id": call.call_id,
        "from": describe_party(call.caller, unmasked=unmasked),
        "to": describe_party(call.callee, unmasked=unmasked),
        "endedAt": milliseconds(call.ended_at),
        "closesAt": milliseconds(call.closes_at),
    }


def headline(summary: ServiceSummary) -> str:
    """Summarize how the service is doing in one or two sentences, each on its own line."""
    calls = summary.calls
    if any(problem.about is not Subject.SETUP for problem in summary.problems):
        return "A problem needs your attention."
    if not calls.ended:
        if calls.live:
            return (
                "A call is in progress."
                if calls.live == 1
                else f"{format_count(calls.live)} calls are in progress."
            )
        return "No call has ended in the last hour." if summary.inbox.ever else "Waiting for the first call."
    ended = f"{format_count(calls.ended)} {pluralize(calls.ended, 'call')} ended in the last hour."
    missing = []
    if calls.waiting:
        missing.append(f"{format_count(calls.waiting)} {is_or_are(calls.waiting)} being looked up")
    if calls.overdue:
        missing.append(f"{format_count(calls.overdue)} missed the window")
    if calls.absent:
        missing.append(f"{format_count(calls.absent)} left no record")
    if not missing:
        every = "Its record was found." if calls.ended == 1 else "Every record was found."
        return f"{ended}\n{every}"
    return f"{ended}\n{join(missing)}."


def _figures(summary: ServiceSummary) -> dict[str, Figure]:
    calls, delays = summary.calls, summary.delays
    share = calls.found_share
    return {
        "ended": figure(format_count(calls.ended), f"{format_count(calls.live)} live now"),
        "found": figure(_percent(share), _found_note(calls), _found_tone(share)),
        "median": figure(format_duration(delays.median_seconds), "half of the records were faster"),
        "p99": figure(format_duration(delays.p99_seconds), _p99_note(summary)),
        "waiting": figure(
            format_count(calls.waiting), "window still open", "waiting" if calls.waiting else ""
        ),
        "absent": figure(format_count(calls.absent), "no source has them", "bad" if calls.absent else ""),
        "swept": figure(
            format_count(calls.swept), "no event announced them" if calls.swept else "all announced by events"
        ),
    }


def _found_note(calls: CallFigures) -> str:
    if calls.found_share is None:
        return "of the announced calls"
    late = calls.later + calls.overdue
    return f"{format_count(late)} after it" if late else "none later"


def _found_tone(share: float | None) -> str:
    if share is None:
        return ""
    return "good" if share >= 0.99 else "waiting" if share >= 0.9 else "bad"


def _p99_note(summary: ServiceSummary) -> str:
    worst = summary.delays.p99_seconds
    if worst is None:
        return f"of a window of {summary.window_seconds:g} s"
    if worst > summary.window_seconds:
        return "after the window closed"
    return f"{worst / summary.window_seconds:.0%} of the window used"


def _budget(summary: ServiceSummary, settings: Settings) -> BudgetRow:
    budget = summary.budget
    if budget is None:
        limit = settings.rate_limit_heavy
        budget = Budget(limit=limit, free=limit, window_seconds=settings.rate_limit_window_seconds)
    refused = summary.rate_limited
    return {
        "free": budget.free,
        "limit": budget.limit,
        "window": budget.window_seconds,
        "silentUntil": milliseconds(budget.silent_until) if budget.silent_until else None,
        "tone": "bad" if budget.silent_until else "",
        "note": f"{format_count(refused)} {pluralize(refused, 'response')} 429 so far"
        if refused
        else "no 429 so far",
        "slots": [
            {
                "kind": slot.priority,
                "sentAt": milliseconds(slot.sent_at),
                "freesAt": milliseconds(slot.frees_at),
            }
            for slot in budget.slots[:_MOST_SLOTS]
        ],
    }


def _inbox(inbox: InboxState, window_seconds: float) -> Figure:
    if not inbox.waiting:
        return figure("Empty", "every event is processed", "good")
    age = inbox.oldest_seconds or 0.0
    tone = "bad" if is_backlog(inbox, window_seconds) else "waiting" if age > 5 else ""
    return figure(f"{format_count(inbox.waiting)} waiting", f"the oldest for {format_duration(age)}", tone)


def _subscription(summary: ServiceSummary, settings: Settings, now: datetime) -> Figure:
    """Describe the subscription. It is never green while a problem says that events may not arrive."""
    causes = [
        problem
        for about in (Subject.SUBSCRIPTION, Subject.REACH)
        for problem in summary.problems
        if problem.about is about
    ]
    if not summary.subscriptions:
        return _no_subscription(settings, causes)
    # An active one counts, else the one that was checked last.
    best = min(summary.subscriptions, key=lambda one: (not one.is_active, -one.checked_at.timestamp()))
    lost = [one for one in summary.subscriptions if not one.is_active]
    if not best.is_active:
        if causes:
            return figure(best.status, lower_first(causes[0].title), "bad")
        return figure(
            best.status, f"{format_ago(now - (best.lost_at or best.checked_at))}; being replaced", "waiting"
        )
    if lost and len({one.account_id for one in lost} - {best.account_id}):
        return figure(f"{len(lost)} lost", "being replaced", "bad" if causes else "waiting")
    if best.disabled_filters:
        number = len(best.disabled_filters)
        return figure(
            "Partly active", f"{number} {pluralize(number, 'filter')} {is_or_are(number)} disabled", "waiting"
        )
    if causes:
        return figure(f"{best.status} so far", lower_first(causes[0].title), "waiting")
    if best.expires_at is None:
        return figure(best.status, f"checked {format_ago(now - best.checked_at)}", "good")
    left = format_duration((best.expires_at - now).total_seconds())
    return figure(best.status, f"renewed within {left}", "good")


def _no_subscription(settings: Settings, causes: Sequence[ProblemToFix]) -> Figure:
    if settings.public_url is None:
        return figure("None", "set AFTERCALL_PUBLIC_URL to create one", "waiting")
    if causes:
        return figure("None", lower_first(causes[0].title), "bad")
    return figure("Not yet", "being created", "waiting")


def describe_problem(problem: ProblemToFix) -> ProblemRow:
    """Describe what is wrong, where, and what a person can do about it."""
    return {
        "title": problem.title,
        "where": _where(problem),
        "detail": problem.detail,
        "todo": problem.todo,
        "tone": "waiting" if problem.about is Subject.SETUP else "bad",
    }


def _where(problem: ProblemToFix) -> str:
    """Name the account and the credentials; empty for the service as a whole."""
    account = "" if problem.account_id == UNBOUND_ACCOUNT else f"account {problem.account_id}"
    own = problem.credentials in (None, OWN)
    return " · ".join(part for part in (account, "" if own else problem.credentials) if part)


def first_steps(summary: ServiceSummary, settings: Settings) -> list[FirstStep]:
    """List what has to be done before the first call can appear, and which steps are done."""
    steps = (
        (
            settings.has_credentials or any(account.members for account in summary.accounts),
            "Add RingCentral credentials",
            "Set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT and restart, or run: aftercall accounts add.",
        ),
        (
            settings.public_url is not None,
            "Let RingCentral reach the service",
            "Set AFTERCALL_PUBLIC_URL to the https address at which RingCentral can reach this service.",
        ),
        (
            any(one.is_active for one in summary.subscriptions),
            "Subscribe to call events",
            "The service does this automatically once the two steps above are done.",
        ),
        (summary.inbox.ever, "Receive the first event", "Call a number of the account, and hang up."),
    )
    return [{"done": done, "title": title, "how": how} for done, title, how in steps]


def _percent(share: float | None) -> str:
    if share is None:
        return NONE
    # Never round up: 100 % means every call.
    return "100 %" if share == 1 else f"{math.floor(share * 1000) / 10:.1f} %"
