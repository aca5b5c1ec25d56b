"""What holds up a sweep, stored as JSON in its row. No I/O.

The row's `problem` is null or {code, detail, since}; `since` is the time in ISO format.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.accounts.remedies import describe
from app.enrichment.call_log.gaps import Sweep
from app.errors import RequestRefused, RingCentralError


class SweepProblem(StrEnum):
    """The service's own codes; others are RingCentral's."""

    NO_CREDENTIALS = "no-credentials"
    USERS_NOT_ASKED = "users-not-asked"


@dataclass(frozen=True, slots=True)
class Unhindered:
    """Nothing holds up the sweep."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A person has to act before the sweep can go on. `code` is None where RingCentral gave none."""

    code: str | None
    detail: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsersNotAsked:
    """The pass goes on, but some users' calls cannot be read: it starts again once they can."""

    detail: str
    since: datetime | None = None

    @property
    def code(self) -> str:
        return SweepProblem.USERS_NOT_ASKED


SweepState = Unhindered | Blocked | UsersNotAsked


def read_state(sweep: Sweep) -> SweepState:
    """Read the state that a row stores."""
    stored = sweep.problem
    if not stored:
        return Unhindered()
    since = datetime.fromisoformat(stored["since"]) if stored.get("since") else None
    if stored["code"] == SweepProblem.USERS_NOT_ASKED:
        return UsersNotAsked(stored["detail"], since)
    return Blocked(stored["code"], stored["detail"], since)


def to_json(state: SweepState) -> dict[str, Any] | None:
    """Return the state as the row stores it."""
    if isinstance(state, Unhindered):
        return None
    since = state.since and state.since.isoformat()
    return {"code": state.code and str(state.code), "detail": state.detail, "since": since}


def after_error(error: RingCentralError, before: SweepState) -> SweepState:
    """Return the state after a failed read."""
    if isinstance(error, RequestRefused):
        return Blocked(error.code, error.detail)
    problem = describe(error)
    # Where some users cannot be asked, the error may be one of theirs; their connections show it.
    if problem is None or isinstance(before, UsersNotAsked):
        return Unhindered()
    return Blocked(problem["code"], problem["detail"])


def lasting(state: SweepState, before: SweepState, now: datetime) -> SweepState:
    """Return the state with the time since when it lasts: that of the state before if it has the same code."""
    if isinstance(state, Unhindered):
        return state
    if isinstance(before, Unhindered) or before.code != state.code:
        return replace(state, since=now)
    return replace(state, since=before.since or now)


def retry_pause(state: SweepState, now: datetime, shortest: float, longest: float) -> timedelta:
    """Return the pause before the next try: the longer a problem lasts, the longer the pause. Bounds in seconds."""
    if isinstance(state, Unhindered) or state.since is None:
        return timedelta(seconds=shortest)
    return min(max(timedelta(seconds=shortest), now - state.since), timedelta(seconds=longest))
