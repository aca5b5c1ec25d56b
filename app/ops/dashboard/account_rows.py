"""Describes the accounts and their credentials in words and plain values. No I/O."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypedDict

from app.accounts.access import Level
from app.accounts.credentials import OWN, CredentialKind
from app.accounts.overview import AccountOverview, CredentialStatus
from app.ids import UNBOUND_ACCOUNT
from app.ops.dashboard.wording import Figure, figure, format_ago, format_count, lower_first, pluralize
from app.ops.figures.summary import ServiceSummary
from app.ops.problems.model import Subject, read_problem

READ_RECENTLY = timedelta(hours=1)
"""An older read proves nothing: the Call Log is swept more often, even when there are no calls."""

_KINDS: Mapping[str, str] = {
    OWN: "JWT of the environment",
    CredentialKind.JWT: "JWT credential",
    CredentialKind.OAUTH: "signed in",
}


class CredentialsRow(TypedDict):
    """One user's credentials; `todo` has what a person has to do about them."""

    name: str
    kind: str
    sees: str
    tone: str
    todo: list[str]


class AccountRow(TypedDict):
    """An account and its credentials."""

    id: str
    name: str
    tone: str
    note: str
    credentials: list[CredentialsRow]


class AccountRows(TypedDict):
    """All accounts, and a figure that sums them up."""

    state: Figure
    lines: list[AccountRow]


def describe_accounts(summary: ServiceSummary) -> AccountRows:
    """Describe which credentials serve each account, how far they reach, and what they need."""
    lines = [_account(account) for account in summary.accounts]
    served = [line for line in lines if line["credentials"]]
    return {"state": _state(summary, served), "lines": lines}


def _state(summary: ServiceSummary, served: Sequence[AccountRow]) -> Figure:
    """Say whether all accounts can be read: green needs a recent read and no known problem."""
    if not served:
        return figure("None", "set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT", "waiting")
    number = f"{format_count(len(served))} {pluralize(len(served), 'account')}"
    unreached = next((problem for problem in summary.problems if problem.about is Subject.REACH), None)
    troubled = sum(line["tone"] != "good" for line in served)
    if unreached is not None:
        return figure(number, f"not now: {lower_first(unreached.title)}", "bad")
    if troubled:
        who = "it needs"
        if len(served) > 1:
            who = f"{troubled} of {len(served)} {'needs' if troubled == 1 else 'need'}"
        tone = "bad" if any(line["tone"] == "bad" for line in served) else "waiting"
        return figure(number, f"{who} attention", tone)
    if summary.last_read_at is None:
        return figure(number, "not read yet")
    if summary.at - summary.last_read_at > READ_RECENTLY:
        return figure(number, f"last read {format_ago(summary.at - summary.last_read_at)}", "waiting")
    return figure(number, "can be read", "good")


def _account(account: AccountOverview) -> AccountRow:
    blocked = [member.is_blocked for member in account.members]
    has_problems = any(member.problems for member in account.members)
    tone = (
        "bad"
        if blocked and all(blocked)
        else "waiting"
        if has_problems
        else "good"
        if account.members
        else ""
    )
    is_unknown = account.account_id == UNBOUND_ACCOUNT
    return {
        "id": account.account_id,
        "name": "Not known yet" if is_unknown else f"Account {account.account_id}",
        "tone": tone,
        "note": "" if account.members else "No credentials: its calls are not fetched.",
        "credentials": [_member(member) for member in account.members],
    }


def _member(member: CredentialStatus) -> CredentialsRow:
    is_narrow = member.access.level is Level.EXTENSION
    return {
        "name": member.name,
        "kind": _KINDS.get(member.kind, member.kind),
        "sees": f"can see extension {member.access.extension_id or '?'} only"
        if is_narrow
        else "can see the whole account",
        "tone": "bad" if member.is_blocked else "waiting" if member.problems else "good",
        "todo": [read_problem(Subject.CREDENTIALS, member.holder, one).detail for one in member.problems],
    }
