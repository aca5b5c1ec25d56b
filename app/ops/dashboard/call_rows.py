"""Puts lanes and figures into words and plain values, the same for the page and for its updates.

What comes out is JSON: texts that are shown as they are, and the few numbers that the page moves by itself
(milliseconds since 1970, seconds). Numbers of people are masked unless `unmasked`. No I/O.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.accounts.credentials import OWN
from app.calls.model import Outcome, Source, Stage
from app.ids import UNBOUND_ACCOUNT
from app.ops.dashboard.board import Lane
from app.ops.figures.summary import Budget, CallFigures, ServiceSummary
from app.ops.problems.listing import ProblemToFix
from app.ops.states import MOST_COUNTED, InboxState, is_backlog
from app.settings import Settings

_NONE = "–"
_MARKS_APART = 0.11
"""Least distance of two marks on the axis, as a share of its length."""

_STAGES: Mapping[str, tuple[str, int]] = {
    Stage.LIVE: ("Live", 1),
    Stage.ENDED: ("Ended", 2),
    Stage.BOOTSTRAPPED: ("Found", 3),
    Stage.RECONCILED: ("Checked", 4),
    Stage.FINAL: ("Final", 5),
    Stage.ABSENT: ("Absent", 5),
}
_OUTCOMES: Mapping[str, str] = {
    Outcome.ANSWERED: "Answered",
    Outcome.MISSED: "Missed",
    Outcome.VOICEMAIL: "Voicemail",
    Outcome.ABANDONED: "Abandoned",
    Outcome.BUSY: "Busy",
    Outcome.NO_ANSWER: "No answer",
    Outcome.REJECTED: "Rejected",
    Outcome.BLOCKED: "Blocked",
    Outcome.FAILED: "Failed",
    Outcome.FAX: "Fax",
}


def show_lane(lane: Lane, now: datetime, *, unmasked: bool) -> dict[str, Any]:
    """Describe one call of the board."""
    chip, step = _STAGES.get(lane.stage, (lane.stage.capitalize(), 1))
    ended, found = lane.ended_at, lane.bootstrapped_at
    window = lane.window_closes_at - ended if ended and lane.window_closes_at else None
    return {
        "id": lane.call_id,
        "chip": chip,
        "step": step,
        "tone": _tone(lane, now),
        "direction": "internal" if lane.internal else (lane.direction or "unknown").lower(),
        "from": show_party(lane.caller, unmasked=unmasked),
        "to": show_party(lane.callee, unmasked=unmasked),
        "outcome": _outcome(lane),
        "startedAt": ms(lane.answered_at or lane.started_at),
        "endedAt": ms(ended) if ended and lane.stage != Stage.LIVE else None,
        "window": window.total_seconds() if window else None,
        "found": max(0.0, (found - ended).total_seconds()) if found and ended else None,
        "notes": lane.notes,
        "sentiment": lane.sentiment,
        "feeling": _feeling(lane.sentiment),
        "recording": lane.has_recording,
    }


def _tone(lane: Lane, now: datetime) -> str:
    """Name what the colour of a lane says."""
    closes_at = lane.window_closes_at
    if lane.stage == Stage.LIVE:
        return "live"
    if lane.source == Source.SWEEP:
        return "swept"
    if lane.stage == Stage.ABSENT:
        return "absent"
    if lane.bootstrapped_at is not None:
        in_time = closes_at is not None and lane.bootstrapped_at <= closes_at
        return "found" if in_time or lane.bootstrapped_by == Source.ACTIVE_CALLS else "later"
    return "waiting" if closes_at is not None and now < closes_at else "overdue"


def _feeling(sentiment: str | None) -> str:
    """Name the face that stands for a sentiment's label; empty for none."""
    if not sentiment:
        return ""
    said = sentiment.lower()
    return next((feeling for feeling in ("positive", "negative") if feeling in said), "neutral")


def _outcome(lane: Lane) -> str:
    if lane.stage == Stage.LIVE:
        return "Talking" if lane.answered_at else "Ringing"
    if lane.stage == Stage.ABSENT and lane.absent_reason:
        return sentence(lane.absent_reason)
    return _OUTCOMES.get(lane.outcome, _NONE)


def show_party(party: Mapping[str, Any] | None, *, unmasked: bool) -> str:
    """Name one side of a call. Colleagues go by name; people outside by number, masked unless `unmasked`."""
    if not party:
        return "Unknown"
    name, number = party.get("name"), party.get("phoneNumber")
    extension = party.get("extensionNumber")
    if extension or party.get("extensionId"):
        return str(name or (f"Ext. {extension}" if extension else "A colleague"))
    if not number:
        return str(name) if name and unmasked else "No number"
    if unmasked:
        return f"{name} {number}" if name else str(number)
    return mask_number(str(number))


def mask_number(number: str) -> str:
    """Hide the middle: `+15550179001` becomes `+1 555 ••• 9001`. At least three digits stay hidden."""
    digits = re.sub(r"\D", "", number)
    if len(digits) < 7:
        return "•••" if len(digits) < 5 else f"••• {digits[-2:]}"
    if number.startswith("+1") and len(digits) == 11:
        return f"+1 {digits[1:4]} ••• {digits[-4:]}"
    head = f"+{digits[:2]}" if number.startswith("+") else digits[:2]
    return f"{head} ••• {digits[-min(4, len(digits) - 5) :]}"


def show_summary(summary: ServiceSummary, settings: Settings, *, unmasked: bool) -> dict[str, Any]:
    """Describe the figures. Each top-level entry can be sent by itself when it has changed."""
    now = summary.at
    return {
        "headline": headline(summary),
        "figures": _figures(summary),
        "budget": _budget(summary, settings),
        "waiting": [
            {
                "id": call.call_id,
                "from": show_party(call.caller, unmasked=unmasked),
                "to": show_party(call.callee, unmasked=unmasked),
                "endedAt": ms(call.ended_at),
                "closesAt": ms(call.closes_at),
            }
            for call in summary.waiting[:6]
        ],
        "more": _in_all(summary.calls.waiting),
        "histogram": list(summary.delays.bins),
        "minutes": [
            [
                ms(minute.at) // 1000,
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
        "problems": [show_problem(problem) for problem in summary.problems],
        "steps": first_steps(summary, settings),
        "scale": {
            "window": summary.window_seconds,
            "lagMin": summary.lag_min_seconds,
            "lagMax": summary.lag_max_seconds,
        },
    }


def headline(summary: ServiceSummary) -> str:
    """Say in one sentence or two, each on a line of its own, how it goes."""
    calls = summary.calls
    if any(problem.about != "setup" for problem in summary.problems):
        return "Something here needs a person."
    if not calls.ended:
        if calls.live:
            return "A call is under way." if calls.live == 1 else f"{count(calls.live)} calls are under way."
        return "No call has ended in the last hour." if summary.inbox.ever else "Waiting for the first call."
    ended = f"{count(calls.ended)} {plural(calls.ended, 'call')} ended in the last hour."
    missing = []
    if calls.waiting:
        missing.append(f"{count(calls.waiting)} {_verb(calls.waiting)} being looked for")
    if calls.overdue:
        missing.append(f"{count(calls.overdue)} missed the window")
    if calls.absent:
        missing.append(f"{count(calls.absent)} left no record")
    if not missing:
        every = "It has its record." if calls.ended == 1 else "Every one has its record."
        return f"{ended}\n{every}"
    return f"{ended}\n{_join(missing)}."


def _figures(summary: ServiceSummary) -> dict[str, dict[str, str]]:
    calls, delays = summary.calls, summary.delays
    share = calls.found_share
    return {
        "ended": figure(count(calls.ended), f"{count(calls.live)} live now"),
        "found": figure(_percent(share), _found_note(calls), _found_tone(share)),
        "median": figure(duration(delays.median_seconds), "half of the records were faster"),
        "p99": figure(duration(delays.p99_seconds), _p99_note(summary)),
        "waiting": figure(count(calls.waiting), "window still open", "waiting" if calls.waiting else ""),
        "absent": figure(count(calls.absent), "no source knows them", "bad" if calls.absent else ""),
        "swept": figure(count(calls.swept), "no event told of them" if calls.swept else "all told by events"),
    }


_LONG, _LONGER = 8, 10
"""Characters from which a value is written smaller, so that it does not reach into its neighbour."""


def figure(value: str, note: str, tone: str = "") -> dict[str, str]:
    size = "longer" if len(value) >= _LONGER else "long" if len(value) >= _LONG else ""
    return {"value": value, "note": note, "tone": tone, "size": size}


def _found_note(calls: CallFigures) -> str:
    if calls.found_share is None:
        return "of the calls told by events"
    late = calls.later + calls.overdue
    return f"{count(late)} after it" if late else "none came late"


def _found_tone(share: float | None) -> str:
    if share is None:
        return ""
    return "good" if share >= 0.99 else "waiting" if share >= 0.9 else "bad"


def _p99_note(summary: ServiceSummary) -> str:
    worst = summary.delays.p99_seconds
    if worst is None:
        return f"of a window of {summary.window_seconds:g} s"
    if worst > summary.window_seconds:
        return "after the window had closed"
    return f"{worst / summary.window_seconds:.0%} of the window used"


def _budget(summary: ServiceSummary, settings: Settings) -> dict[str, Any]:
    budget = summary.budget
    if budget is None:
        limit = settings.rate_limit_heavy
        budget = Budget(limit=limit, free=limit, window_seconds=settings.rate_limit_window_seconds)
    refused = summary.rate_limited
    ever = f"{count(refused)} {plural(refused, 'answer')} 429 since the beginning"
    return {
        "free": budget.free,
        "limit": budget.limit,
        "window": budget.window_seconds,
        "silentUntil": ms(budget.silent_until) if budget.silent_until else None,
        "tone": "bad" if budget.silent_until else "",
        "note": ever if refused else "never answered 429",
        "slots": [
            {
                "kind": slot.priority,
                "sentAt": ms(slot.sent_at),
                "freesAt": ms(slot.frees_at),
            }
            for slot in budget.slots[:40]
        ],
    }


def _inbox(inbox: InboxState, window_seconds: float) -> dict[str, str]:
    if not inbox.waiting:
        return figure("Empty", "every event is worked in", "good")
    age = inbox.oldest_seconds or 0.0
    tone = "bad" if is_backlog(inbox, window_seconds) else "waiting" if age > 5 else ""
    return figure(f"{count(inbox.waiting)} waiting", f"the oldest for {duration(age)}", tone)


def _subscription(summary: ServiceSummary, settings: Settings, now: datetime) -> dict[str, str]:
    """Say how the subscription stands. It is never called well while a problem says that events may not come."""
    of_it = [problem for problem in summary.problems if problem.about == "subscription"]
    troubles = [*of_it, *(problem for problem in summary.problems if problem.about == "reach")]
    if not summary.subscriptions:
        return _no_subscription(settings, troubles)
    best = min(summary.subscriptions, key=lambda one: (not one.is_active, -one.checked_at.timestamp()))
    lost = [one for one in summary.subscriptions if not one.is_active]
    if not best.is_active:
        if troubles:
            return figure(best.status, lower_first(troubles[0].title), "bad")
        return figure(
            best.status, f"{ago(now - (best.lost_at or best.checked_at))}; being replaced", "waiting"
        )
    if lost and len({one.account_id for one in lost} - {best.account_id}):
        return figure(f"{len(lost)} lost", "being replaced", "bad" if troubles else "waiting")
    if best.disabled_filters:
        number = len(best.disabled_filters)
        return figure(
            "Partly active", f"{number} {plural(number, 'filter')} {_verb(number)} disabled", "waiting"
        )
    if troubles:
        return figure(f"{best.status} so far", lower_first(troubles[0].title), "waiting")
    if best.expires_at is None:
        return figure(best.status, f"seen {ago(now - best.checked_at)}", "good")
    left = duration((best.expires_at - now).total_seconds())
    return figure(best.status, f"renewed within {left}", "good")


def _no_subscription(settings: Settings, troubles: Sequence[ProblemToFix]) -> dict[str, str]:
    if settings.public_url is None:
        return figure("None", "set AFTERCALL_PUBLIC_URL to have one", "waiting")
    if troubles:
        return figure("None", lower_first(troubles[0].title), "bad")
    return figure("Not yet", "being created", "waiting")


def show_problem(problem: ProblemToFix) -> dict[str, str]:
    """Say what is wrong, where, and what a person can do about it."""
    return {
        "title": problem.title,
        "where": where(problem),
        "detail": problem.detail,
        "todo": problem.todo,
        "tone": "waiting" if problem.about == "setup" else "bad",
    }


def where(problem: ProblemToFix) -> str:
    """Name the account and the credentials that a problem is about; empty for the service as a whole."""
    account = "" if problem.account_id == UNBOUND_ACCOUNT else f"account {problem.account_id}"
    own = problem.credentials in (None, OWN)
    return " · ".join(part for part in (account, "" if own else problem.credentials) if part)


def first_steps(summary: ServiceSummary, settings: Settings) -> list[dict[str, Any]]:
    """List what has to be done before the first call can show, and what of it is done."""
    active = any(one.is_active for one in summary.subscriptions)
    steps = (
        (
            settings.has_credentials or any(account.members for account in summary.accounts),
            "Give it a RingCentral user",
            "Set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT, then restart; or add an account: aftercall accounts add.",
        ),
        (
            settings.public_url is not None,
            "Let RingCentral reach it",
            "Set AFTERCALL_PUBLIC_URL to the https address under which this service can be reached.",
        ),
        (
            active,
            "Subscribe to call events",
            "The service does this itself once the two above are done.",
        ),
        (summary.inbox.ever, "Receive the first event", "Call a number of the account and hang up."),
    )
    return [{"done": done, "title": title, "how": how} for done, title, how in steps]


def position(share: float) -> float:
    """Return where on the board's axis a share of the window stands, 0..1: square root, as the histogram."""
    return math.sqrt(min(1.0, max(0.0, share)))


def axis(scale: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the marks of the board's axis: where (0..1), and what to write there. None stands in another's way."""
    window = scale["window"]
    shown: list[dict[str, Any]] = []
    for mark in sorted({0.0, scale["lagMin"], scale["lagMax"], window / 4, window / 2}):
        at = round(position(mark / window), 4)
        if mark < window * 0.9 and (not shown or at - shown[-1]["at"] >= _MARKS_APART):
            shown.append({"at": at, "text": f"{round(mark, 2):g} s"})
    return [*shown, {"at": 1.0, "text": f"{round(window, 2):g} s"}]


def duration(seconds: float | None) -> str:
    """Say a duration the short way: `3.4 s`, `2 min 05 s`, `3 h 10 min`, `6 d 23 h`."""
    if seconds is None:
        return _NONE
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def ago(passed: timedelta) -> str:
    """Say how long ago something was."""
    return f"{duration(max(0.0, passed.total_seconds()))} ago"


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def count(number: int) -> str:
    return f"{MOST_COUNTED - 1:,}+" if number >= MOST_COUNTED else f"{number:,}"


def _percent(share: float | None) -> str:
    if share is None:
        return _NONE
    # Never round up to all: 100 % means every one.
    return "100 %" if share == 1 else f"{math.floor(share * 1000) / 10:.1f} %"


def _in_all(waiting: int) -> str:
    return f"{count(waiting)} in all" if waiting > 3 else ""


def plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def lower_first(text: str) -> str:
    """Let a title go on as part of a sentence; names keep their capital."""
    return text if text.startswith("RingCentral") else text[:1].lower() + text[1:]


def _verb(number: int) -> str:
    return "is" if number == 1 else "are"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence(code: str) -> str:
    words = re.sub(r"[-_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", code)).strip().lower()
    return words[:1].upper() + words[1:] if words else "Unknown"
