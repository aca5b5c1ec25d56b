"""Decides what becomes of a sweep: when and how ranges are swept, and what holds up a sweep. No I/O.

A row's `problem` is null or {code, detail, since}; `since` is the time in ISO format.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.accounts.remedies import describe
from app.enrichment.gaps import Reason, Sweep
from app.errors import AccessReason, RequestRefused, RingCentralError

GAP_PASSES = 2
"""A gap is swept again later: a few records come minutes late."""

LONG_PASS_EVERY = 8
"""Most regular passes go back a little; every eighth goes back all the way, for calls that lasted for hours.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRules:
    """Durations in seconds; see `Settings`."""

    interval: float
    """From one regular pass to the next."""

    lookback: float
    """How far long passes go back: calls that started earlier and are over are not looked up any more."""

    overlap: float
    """How far short passes reach into the previous one: a few records come minutes late."""

    grace: float
    """How long after its end a call is left to its events."""

    margin: float
    """How far apart the records of one call may start."""

    first_after: float
    """From the end of a gap to its first sweep: the Call Log follows the calls after 15-30 s."""

    second_after: float
    spacing: float
    """Between two slices that are not urgent."""

    lease: float
    """After this time a crashed replica's slice is free; the lease is renewed while the work goes on."""

    longest: float
    """A slice that takes longer to read is read in shorter ones."""


def is_long_pass(sweep: Sweep) -> bool:
    """Whether this pass of the regular sweep goes back all the way."""
    return sweep.passes > 0 and sweep.passes % LONG_PASS_EVERY == 0


def after_pass(sweep: Sweep, rules: SweepRules, now: datetime) -> dict[str, Any]:
    """Return the columns of a row that finished a pass."""
    passes = sweep.passes + 1
    changes: dict[str, Any] = {"passes": passes, "found": sweep.found, "problem": None}
    if sweep.reason == Reason.REGULAR:
        due_at = now + timedelta(seconds=rules.interval)
        back = rules.lookback if passes % LONG_PASS_EVERY == 0 else rules.overlap
        from_at = min(sweep.to_at or now, due_at) - timedelta(seconds=back)
        # Calls from before the regular sweep began are for a backfill.
        from_at = max(sweep.created_at, from_at)
        return changes | {
            "from_at": from_at, "to_at": due_at, "cursor_at": None, "due_at": due_at, "done_at": now,
        }  # fmt: skip
    if sweep.is_gap and passes < GAP_PASSES:
        return changes | {"cursor_at": None, "due_at": now + timedelta(seconds=rules.second_after)}
    return changes | {"due_at": None, "done_at": now}


class SweepProblem(StrEnum):
    """The service's own codes; others are RingCentral's."""

    NO_CREDENTIALS = AccessReason.NO_CREDENTIALS.value
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
    """Return the state with the time since when it lasts, which a state with the same code passes on."""
    if isinstance(state, Unhindered):
        return state
    if isinstance(before, Unhindered) or before.code != state.code:
        return replace(state, since=now)
    return replace(state, since=before.since or now)


def retry_pause(state: SweepState, now: datetime, shortest: float, longest: float) -> timedelta:
    """Return the pause before the next try: the longer a problem lasts, the longer the pause. Bounds in
    seconds."""
    if isinstance(state, Unhindered) or state.since is None:
        return timedelta(seconds=shortest)
    return min(max(timedelta(seconds=shortest), now - state.since), timedelta(seconds=longest))
