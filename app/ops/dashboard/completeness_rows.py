"""Puts the completeness ledger and the accounts into words and plain values for the dashboard. No I/O.

What comes out is JSON, as in `view`: texts that are shown as they are, and moments (milliseconds since 1970) that the
page writes in the viewer's time.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from app.accounts.access import Level
from app.accounts.credentials import OWN, CredentialKind
from app.accounts.overview import AccountOverview, CredentialStatus
from app.calls.model import Stage
from app.enrichment.call_log.gaps import Reason, Sweep
from app.ids import UNBOUND_ACCOUNT
from app.ops.dashboard.call_rows import ago, count, figure, lower_first, ms, plural, sentence
from app.ops.figures.completeness import (
    MOST_CALLS,
    SINCE_GAP,
    TOO_LONG,
    Completeness,
    Day,
    Doubtful,
    Recordless,
)
from app.ops.figures.summary import ServiceSummary

MOST_LINES = 6
"""Gaps and calls that are listed; `more` counts the rest."""

READ_LATELY = timedelta(hours=1)
"""What was read longer ago proves nothing: the Call Log is looked through more often, also when nobody calls."""

NO_LOSS = frozenset({"test-call"})
"""Reasons of absence that are in order."""

_REASONS: Mapping[str, str] = {
    Reason.SERVICE_DOWN: "The service was away",
    Reason.NOT_STORED: "Deliveries could not be stored",
    Reason.MISSING: "The subscription was gone",
    Reason.EXPIRED: "The subscription had run out",
    Reason.SUSPENDED: "RingCentral had suspended the subscription",
    Reason.REFUSED: "Events came with another secret",
    Reason.BACKFILL: "Backfill",
    Reason.REGULAR: "Regular look through the Call Log",
}
_CALLS: Mapping[str, str] = {
    "never-logged": "neither source knows it",
    "no-permission": "no credentials may see it",
    "no-credentials": "no credentials serve its account",
    "not-in-the-call-log-yet": "not in the Call Log yet",
    SINCE_GAP: "live since before a gap: is it over?",
    TOO_LONG: "live for too long: is it over?",
}
_KINDS: Mapping[str, str] = {
    OWN: "JWT of the environment",
    CredentialKind.JWT: "JWT credential",
    CredentialKind.OAUTH: "signed in",
}


def show_ledger(ledger: Completeness, now: datetime) -> dict[str, Any]:
    """Describe what became of the calls of some days, and what is still being looked for."""
    missing = [call for call in ledger.calls if call.reason not in NO_LOSS]
    missing.sort(key=lambda call: call.stage != Stage.ABSENT)
    works = sorted(
        (work for work in (*ledger.regular, *ledger.gaps) if _is_worth_telling(work)),
        key=lambda work: (work.done_at is not None, -work.from_at.timestamp()),
    )
    doubtful = [_doubtful(call) for call in ledger.live]
    shown = [*(_call(call) for call in missing), *doubtful]
    is_all = len(ledger.calls) < MOST_CALLS and len(doubtful) < MOST_CALLS
    value, note, tone = _verdict(ledger)
    return {
        "state": figure(value, note, tone),
        "lookedAt": ms(ledger.last_look_at) if ledger.last_look_at else None,
        "days": [_day(day, now.date()) for day in reversed(ledger.days) if day.ended],
        "works": [_work(work, now) for work in works[:MOST_LINES]],
        "moreWorks": _more(len(works)),
        "calls": shown[:MOST_LINES],
        "moreCalls": _more(len(shown), is_all=is_all),
    }


def _verdict(ledger: Completeness) -> tuple[str, str, str]:
    """Say in a word, a line and a tone whether a call is missing."""
    lost = sum(
        number for day in ledger.days for reason, number in day.absent.items() if reason not in NO_LOSS
    )
    overdue = sum(call.stage == Stage.ENDED for call in ledger.calls)
    unswept = [gap for gap in ledger.gaps if gap.is_gap and gap.done_at is None]
    if any(gap.to_at is None for gap in unswept):
        return "No events", "what is missed is fetched afterwards", "bad"
    if lost:
        return f"{count(lost)} missing", f"{plural(lost, 'call')} left no record since yesterday", "bad"
    if overdue:
        return f"{count(overdue)} looked for", "in the Call Log, past their window", "later"
    if ledger.live:
        number = len(ledger.live)
        return f"{count(number)} in doubt", "live, and perhaps over: RingCentral is asked", "waiting"
    if unswept:
        return "Catching up", "with a time in which no event came", "waiting"
    if not any(day.ended for day in ledger.days):
        return "Nothing missing", "no call has ended since yesterday", ""
    return "Nothing missing", "every call since yesterday is accounted for", "good"


def _day(day: Day, today: date) -> dict[str, Any]:
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
        "ended": f"{count(day.ended)} ended",
        "parts": [
            {"kind": kind, "number": number, "text": f"{count(number)} {text}"}
            for kind, number, text in parts
            if number
        ],
        "swept": f"{count(day.swept)} told by no event, found by looking" if day.swept else "",
    }


def _is_worth_telling(work: Sweep) -> bool:
    """The regular look goes on all the time: it is told while it reads, and when it cannot."""
    return work.reason != Reason.REGULAR or work.problem is not None or work.cursor_at is not None


def _work(work: Sweep, now: datetime) -> dict[str, Any]:
    state, tone = _state(work, now)
    found = "" if work.reason == Reason.REGULAR else f"{count(work.found)} {plural(work.found, 'call')} found"
    return {
        "id": f"{work.account_id}/{work.sweep_id}",
        "title": _REASONS.get(work.reason, sentence(work.reason)),
        "account": "" if work.account_id == UNBOUND_ACCOUNT else work.account_id,
        "tone": tone,
        "from": ms(work.from_at),
        "to": ms(work.to_at) if work.to_at else None,
        "state": state,
        "share": _share(work),
        "found": found if work.records or work.done_at else "",
        "detail": str((work.problem or {}).get("detail") or work.detail or ""),
    }


def _state(work: Sweep, now: datetime) -> tuple[str, str]:
    if work.to_at is None:
        return "still lasts", "bad"
    if work.done_at is not None and work.reason != Reason.REGULAR:
        return "done", "good"
    if work.problem is not None:
        return "does not get on", "bad"
    if work.reason == Reason.BACKFILL and (work.lease_until is None or work.lease_until < now):
        return "interrupted: the same command goes on", "waiting"
    if work.cursor_at is not None:
        return "being read", "waiting"
    return ("read once, and once more for late records" if work.passes else "read soon"), "waiting"


def _share(work: Sweep) -> float | None:
    """How much of it is read, 0..1; None where nothing runs."""
    if work.to_at is None or work.cursor_at is None or (work.done_at and work.reason != Reason.REGULAR):
        return None
    whole = (work.to_at - work.from_at).total_seconds()
    return (
        round(min(1.0, max(0.0, (work.cursor_at - work.from_at).total_seconds() / whole)), 3)
        if whole
        else None
    )


def _call(call: Recordless) -> dict[str, Any]:
    return {
        "id": call.call_id,
        "name": call.session_id or call.telephony_session_id,
        "why": _CALLS.get(call.reason, sentence(call.reason).lower()),
        "tone": "overdue" if call.stage == Stage.ENDED else "absent",
        "since": ms(call.since),
        "next": ms(call.next_look_at) if call.next_look_at else None,
    }


def _doubtful(call: Doubtful) -> dict[str, Any]:
    return {
        "id": call.call_id,
        "name": call.session_id or call.telephony_session_id,
        "why": _CALLS[call.reason],
        "tone": "overdue",
        "since": ms(call.since),
        "next": ms(call.next_look_at) if call.next_look_at else None,
    }


def _more(number: int, *, is_all: bool = True) -> str:
    return f"and {count(number - MOST_LINES)}{'' if is_all else ' or'} more" if number > MOST_LINES else ""


def show_accounts(summary: ServiceSummary) -> dict[str, Any]:
    """Describe whose credentials serve which account, how far they reach, and what they want of a person."""
    lines = [_account(account) for account in summary.accounts]
    served = [line for line in lines if line["credentials"]]
    return {"state": _state_of_accounts(summary, served), "lines": lines}


def _state_of_accounts(summary: ServiceSummary, served: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Say whether all accounts can be read; only when somebody has read lately and nothing is known against it."""
    if not served:
        return figure("None", "set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT", "waiting")
    number = _accounts(len(served))
    unreached = next((problem for problem in summary.problems if problem.about == "reach"), None)
    troubled = sum(line["tone"] != "good" for line in served)
    if unreached is not None:
        return figure(number, f"not now: {lower_first(unreached.title)}", "bad")
    if troubled:
        who = "it needs"
        if len(served) > 1:
            who = f"{troubled} of {len(served)} {'needs' if troubled == 1 else 'need'}"
        tone = "bad" if any(line["tone"] == "bad" for line in served) else "waiting"
        return figure(number, f"{who} a person", tone)
    if summary.last_read_at is None:
        return figure(number, "not read yet")
    if summary.at - summary.last_read_at > READ_LATELY:
        return figure(number, f"last read {ago(summary.at - summary.last_read_at)}", "waiting")
    return figure(number, "can be read", "good")


def _accounts(number: int) -> str:
    return f"{count(number)} {plural(number, 'account')}"


def _account(account: AccountOverview) -> dict[str, Any]:
    blocked = [member.is_blocked for member in account.members]
    wants = any(member.problems for member in account.members)
    tone = "bad" if blocked and all(blocked) else "waiting" if wants else "good" if account.members else ""
    is_unknown = account.account_id == UNBOUND_ACCOUNT
    return {
        "id": account.account_id,
        "name": "Not known yet" if is_unknown else f"Account {account.account_id}",
        "tone": tone,
        "note": "" if account.members else "No credentials: nothing is fetched for it.",
        "credentials": [_member(member) for member in account.members],
    }


def _member(member: CredentialStatus) -> dict[str, Any]:
    is_narrow = member.access.level is Level.EXTENSION
    return {
        "name": member.name,
        "kind": _KINDS.get(member.kind, member.kind),
        "sees": f"sees extension {member.access.extension_id or '?'} alone"
        if is_narrow
        else "sees the whole account",
        "tone": "bad" if member.is_blocked else "waiting" if member.problems else "good",
        "todo": [str(problem.get("detail") or "") for problem in member.problems],
    }
